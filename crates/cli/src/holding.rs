//! Work under a claim: claimed before, kept up meanwhile, given back after.

use std::time::Duration;

use backstay_archive::{Duty, Error, Vault};

use crate::failure::Failure;
use crate::holder::{is_gone, this_process};

/// How often it is looked at whether the others must be told that this process is still there.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Claims `duties`, from a process that has ended at once, from a running one only to `take_over`.
///
/// # Errors
/// When another process holds one of them, or the repository fails.
pub async fn claim(vault: &Vault, duties: &[Duty], take_over: bool) -> Result<Vault, Failure> {
    Ok(vault.claim(duties, &this_process(), |holder| take_over || is_gone(holder)).await?)
}

/// Does `work`, which commits by `vault`, while its claims are kept up, and gives them back however it ends.
///
/// # Errors
/// Those of the work; when another process takes over.
pub async fn hold<T>(
    vault: &Vault,
    work: impl Future<Output = Result<T, backstay_engine::Error>>,
) -> Result<T, Failure> {
    let lost = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match vault.renew().await {
                Ok(()) => {}
                Err(error @ Error::Fenced { .. }) => return error,
                // The work needs the repository as well, and says more.
                Err(error) => tracing::debug!(%error, "others could not be told that this process is still there"),
            }
        }
    };
    let done = tokio::select! {
        done = work => done.map_err(Failure::from),
        error = lost => Err(error.into()),
    };
    if let Err(error) = vault.release().await {
        tracing::warn!(%error, "the claim was not given back; it lapses by itself");
    }
    done
}
