//! The environment variables that Backstay looks at, as an argument.
//!
//! Taken once at the start, so that tests can hand in their own and nothing below reads the process's environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::failure::Failure;

/// A set of environment variables.
#[derive(Clone, Default, Debug)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Those of this process that concern Backstay: `BACKSTAY_…`, `XDG_…`, `HOME`, and those of the providers of storage.
    pub fn of_process() -> Environment {
        const PREFIXES: [&str; 7] = ["BACKSTAY_", "XDG_", "AWS_", "AZURE_", "IDENTITY_", "MSI_", "GOOGLE_"];
        let concerns = |name: &str| name == "HOME" || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| concerns(name))
            .collect()
    }

    /// The value of a variable; one that is empty counts as not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The value of a variable as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| Failure::usage(format!("{name} is not valid UTF-8")))
    }

    /// All variables that begin with one of these, as text.
    ///
    /// # Errors
    /// When one is not UTF-8.
    pub fn with_prefixes(&self, prefixes: &[&str]) -> Result<Vec<(String, String)>, Failure> {
        let mut found = Vec::new();
        for name in self.variables.keys().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))) {
            found.extend(self.text(name)?.map(|value| (name.clone(), value.to_owned())));
        }
        Ok(found)
    }

    /// The value of a variable as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Environment {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Environment { variables }
    }
}
