//! Words that come from elsewhere, made safe to show.
//!
//! A tenant, a collection or an id may be called anything, control characters included, and whoever may name one must not
//! steer the terminal of whoever looks at it: colours, titles, lines that nobody wrote, text that reads backwards. People
//! are shown such characters as JSON escapes them (`\u001b`, `\n`), so that a record shown to people stays JSON. What
//! programs read (`--json`) is never touched.

use std::borrow::Cow;
use std::fmt::Write;

/// Text of several lines: line ends and tabs stay.
pub fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |character| !matches!(character, '\n' | '\t'))
}

/// Text that belongs on one line, such as a name or the cell of a table.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| true)
}

fn escaped(text: &str, may_escape: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_unsafe = |character: char| steers(character) && may_escape(character);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' if is_unsafe(character) => shown.push_str("\\n"),
            '\t' if is_unsafe(character) => shown.push_str("\\t"),
            // All that steer are of the first plane. Writing to a string does not fail.
            _ if is_unsafe(character) => drop(write!(shown, "\\u{:04x}", u32::from(character))),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those that end a line or turn the direction of what follows.
fn steers(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_sent() {
        assert_eq!(line("a\u{1b}[31mb\nc\td\u{9b}2J\u{7f}\u{202e}e"), "a\\u001b[31mb\\nc\\td\\u009b2J\\u007f\\u202ee");
        assert_eq!(text("a\u{1b}]0;b\nc\td\r"), "a\\u001b]0;b\nc\td\\u000d");
        assert!(matches!(line("Zürich → 東京 🎉 “x”"), Cow::Borrowed(_)));
    }
}
