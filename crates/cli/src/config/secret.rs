//! Secrets, and where they come from.
//!
//! A secret is given as a value, as a file that holds it, or as a command that prints it; one line end at its end is
//! not part of it. It is read when it is needed, wiped when it is dropped, and never printed.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::failure::Failure;

/// A text that is not printed and does not stay in memory.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// Lends the text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Clone for Secret {
    fn clone(&self) -> Secret {
        Secret::new(self.expose().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The setting or variable that says so.
    pub setting: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Value(Secret),
    File(PathBuf),
    Command(String),
}

impl Origin {
    /// The secret is the value of `setting`.
    pub fn value(setting: impl Into<String>, value: Secret) -> Origin {
        Origin { setting: setting.into(), place: Place::Value(value) }
    }

    /// The secret is in a file that `setting` names.
    pub fn file(setting: impl Into<String>, file: PathBuf) -> Origin {
        Origin { setting: setting.into(), place: Place::File(file) }
    }

    /// The secret is printed by a command that `setting` holds.
    pub fn command(setting: impl Into<String>, command: String) -> Origin {
        Origin { setting: setting.into(), place: Place::Command(command) }
    }

    /// The value, when it is known without reading a file or running a command.
    pub fn known(&self) -> Option<&Secret> {
        match &self.place {
            Place::Value(secret) => Some(secret),
            Place::File(_) | Place::Command(_) => None,
        }
    }

    /// Where it comes from, in words without secrets.
    pub fn describe(&self) -> String {
        match &self.place {
            Place::Value(_) => format!("from {}", self.setting),
            Place::File(file) => format!("from the file {} ({})", file.display(), self.setting),
            Place::Command(_) => format!("from a command ({})", self.setting),
        }
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// When the file cannot be read or the command fails, or the secret is empty or not text.
    pub fn read(&self) -> Result<Secret, Failure> {
        let bytes = match &self.place {
            Place::Value(secret) => return Ok(secret.clone()),
            Place::File(file) => Zeroizing::new(std::fs::read(file).map_err(|error| {
                Failure::failed(format!("cannot read {}, which {} names: {error}", file.display(), self.setting))
            })?),
            Place::Command(command) => run(command, &self.setting)?,
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Failure::failed(format!("what {} yields is not valid UTF-8", self.setting)))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(Failure::failed(format!("what {} yields is empty", self.setting)));
        }
        Ok(Secret::new(text.to_owned()))
    }
}

fn run(command: &str, setting: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Its stderr goes to the user's: a password manager may have something to say.
    let output = Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Failure::failed(format!("cannot run the command of {setting}: {error}")))?;
    if !output.status.success() {
        return Err(Failure::failed(format!("the command of {setting} failed: {}", output.status)));
    }
    Ok(Zeroizing::new(output.stdout))
}

/// Where a secret comes from by the variables `VARIABLE`, `VARIABLE_FILE` and `VARIABLE_COMMAND`.
///
/// # Errors
/// When more than one of them is set.
pub fn origin(variable: &str, environment: &Environment) -> Result<Option<Origin>, Failure> {
    let (file, command) = (format!("{variable}_FILE"), format!("{variable}_COMMAND"));
    let by_value = environment.text(variable)?.map(|text| Origin::value(variable, Secret::new(text.to_owned())));
    let by_file = environment.path(&file).map(|path| Origin::file(&file, path));
    let by_command = environment.text(&command)?.map(|text| Origin::command(&command, text.to_owned()));
    let mut given = [by_value, by_file, by_command].into_iter().flatten();
    let first = given.next();
    match (&first, given.next()) {
        (Some(first), Some(second)) => {
            Err(Failure::usage(format!("both {} and {} are set", first.setting, second.setting))
                .hint("keep one of them"))
        }
        _ => Ok(first),
    }
}

/// The secret that the variables `VARIABLE`, `VARIABLE_FILE` or `VARIABLE_COMMAND` give.
///
/// # Errors
/// As [`origin`] and [`Origin::read`].
pub fn from_environment(variable: &str, environment: &Environment) -> Result<Option<Secret>, Failure> {
    origin(variable, environment)?.map(|origin| origin.read()).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        let environment = Environment::from_iter(variables.iter().copied());
        Ok(from_environment("BACKSTAY_PASSPHRASE", &environment)?.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn a_value_a_file_and_a_command_yield_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "two words\n").unwrap();
        let expected = Ok(Some("two words".to_owned()));
        assert_eq!(read(&[("BACKSTAY_PASSPHRASE", "two words")]), expected);
        assert_eq!(read(&[("BACKSTAY_PASSPHRASE_FILE", file.to_str().unwrap())]), expected);
        assert_eq!(read(&[("BACKSTAY_PASSPHRASE_COMMAND", "echo 'two words'")]), expected);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("BACKSTAY_PASSPHRASE", "")]), Ok(None));
    }

    #[test]
    fn what_yields_no_secret_is_named_without_the_secret() {
        let message = |variables: &[(&str, &str)]| read(variables).unwrap_err().message;
        assert_eq!(
            message(&[("BACKSTAY_PASSPHRASE", "hidden"), ("BACKSTAY_PASSPHRASE_COMMAND", "echo hidden")]),
            "both BACKSTAY_PASSPHRASE and BACKSTAY_PASSPHRASE_COMMAND are set"
        );
        assert_eq!(
            message(&[("BACKSTAY_PASSPHRASE_COMMAND", "true hidden")]),
            "what BACKSTAY_PASSPHRASE_COMMAND yields is empty"
        );
        assert_eq!(
            message(&[("BACKSTAY_PASSPHRASE_COMMAND", "exit 3 # hidden")]),
            "the command of BACKSTAY_PASSPHRASE_COMMAND failed: exit status: 3"
        );
    }

    #[test]
    fn debug_shows_nothing() {
        let origin = Origin::value("uri", Secret::new("hidden".into()));
        assert!(!format!("{origin:?}").contains("hidden"));
    }
}
