//! Hiding credentials in what is shown.
//!
//! Rather too much is hidden than too little: a password that was not percent-encoded as it should be is hidden whole.

/// A URI without its password and without the options that carry secrets.
pub fn uri(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (user, rest) = match rest.rsplit_once('@') {
        None => (String::new(), rest),
        Some((credentials, rest)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), rest),
            None => (format!("{credentials}@"), rest),
        },
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}://{user}{rest}") };
    let options: Vec<String> = query.split('&').map(option).collect();
    format!("{scheme}://{user}{place}?{}", options.join("&"))
}

fn option(option: &str) -> String {
    const SECRET: [&str; 4] = ["password", "secret", "token", "properties"];
    match option.split_once('=') {
        Some((name, _)) if SECRET.iter().any(|word| name.to_ascii_lowercase().contains(word)) => format!("{name}=***"),
        _ => option.to_owned(),
    }
}

/// A text of several words and lines in which every URI is without its secrets.
pub fn text(text: &str) -> String {
    let ends_word = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '“' | '”');
    let mut redacted = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends_word) {
        if piece.contains("://") { redacted.push_str(&uri(piece)) } else { redacted.push_str(piece) }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_however_it_is_written() {
        for (whole, shown) in [
            ("mongodb://127.0.0.1:27017/?replicaSet=rs0", "mongodb://127.0.0.1:27017/?replicaSet=rs0"),
            ("mongodb://ann:pw@h:1,i:2/db?tls=true", "mongodb://ann:***@h:1,i:2/db?tls=true"),
            ("mongodb://ann:p@w/x:y?z@h/", "mongodb://ann:***@h/"),
            ("mongodb+srv://ann@h/", "mongodb+srv://ann@h/"),
            ("mongodb://h/?tlsCertificateKeyFilePassword=pw&w=1", "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"),
            ("no uri", "no uri"),
        ] {
            assert_eq!(uri(whole), shown);
        }
    }

    #[test]
    fn a_password_is_hidden_in_running_text() {
        assert_eq!(
            text("3 |   uri: \"mongodb://ann:pw@h/\"\n4 | kind: x"),
            "3 |   uri: \"mongodb://ann:***@h/\"\n4 | kind: x"
        );
    }
}
