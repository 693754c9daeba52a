//! Whether a deployment that is to be written to is the source of an archive.

use backstay_archive::{Error, Vault};
use backstay_source::Topology;

/// How a deployment stands to a source.
#[derive(Debug)]
pub enum Standing {
    /// It is another one.
    Other,
    /// It is the source.
    Source,
    /// It may be: with these credentials it does not show which one it is. The error says so, and the way out.
    Unknown(Error),
}

impl Standing {
    /// That of a deployment that was looked at to the source of `vault`.
    ///
    /// # Errors
    /// When the vault cannot be read.
    pub async fn of(vault: &Vault, found: &Topology) -> Result<Standing, Error> {
        match vault.check_source(&found.identity, found.stand_in.as_deref()).await {
            Ok(()) => Ok(Standing::Source),
            Err(Error::OtherSource { .. }) => Ok(Standing::Other),
            Err(error @ Error::Unidentified { .. }) => Ok(Standing::Unknown(error)),
            Err(error) => Err(error),
        }
    }
}
