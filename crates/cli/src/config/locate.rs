//! Where the configuration is looked for.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::failure::Failure;

const NAME: &str = "backstay.yaml";

/// The file that was named, or the first that exists of the usual places.
///
/// # Errors
/// When the named file does not exist, or none of the usual places has one.
pub fn locate(named: Option<&Path>, environment: &Environment) -> Result<PathBuf, Failure> {
    if let Some(file) = named {
        if file.is_file() {
            return Ok(file.to_owned());
        }
        return Err(Failure::usage(format!("there is no configuration at {}", file.display()))
            .hint("it was named by --config or BACKSTAY_CONFIG"));
    }
    let places = places(environment);
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        return Ok(found.clone());
    }
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(Failure::usage(format!("there is no configuration; looked for {}", places.join(", ")))
        .hint("write backstay.yaml, or name another file with --config or BACKSTAY_CONFIG"))
}

/// The working folder, the user's and the system's XDG folders, `/etc/backstay`; the first wins.
/// See the XDG Base Directory Specification for the variables and their defaults.
fn places(environment: &Environment) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(NAME)];
    let home = environment.path("XDG_CONFIG_HOME").or_else(|| Some(environment.path("HOME")?.join(".config")));
    places.extend(home.map(|home| home.join("backstay").join(NAME)));
    let system = environment.get("XDG_CONFIG_DIRS").unwrap_or("/etc/xdg".as_ref());
    places.extend(std::env::split_paths(system).map(|folder| folder.join("backstay").join(NAME)));
    places.push(Path::new("/etc/backstay").join(NAME));
    places
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_users_place_comes_before_the_systems() {
        let variables = [("HOME", "/home/a"), ("XDG_CONFIG_DIRS", "/x:/y")];
        let places = places(&Environment::from_iter(variables));
        let texts: Vec<&str> = places.iter().filter_map(|place| place.to_str()).collect();
        assert_eq!(
            texts,
            [
                "backstay.yaml",
                "/home/a/.config/backstay/backstay.yaml",
                "/x/backstay/backstay.yaml",
                "/y/backstay/backstay.yaml",
                "/etc/backstay/backstay.yaml"
            ]
        );
    }

    #[test]
    fn a_named_file_is_not_replaced_by_another() {
        let failure = locate(Some(Path::new("/nowhere/b.yaml")), &Environment::default()).unwrap_err();
        assert_eq!(failure.message, "there is no configuration at /nowhere/b.yaml");
    }
}
