//! Bytes that must not be copied, printed or left behind.
//!
//! A `Secret` lives on the heap so that moving the handle does not leave copies on the stack; it is overwritten when
//! dropped, prints as `Secret(..)`, and cannot be cloned or compared.

use std::fmt;

use zeroize::Zeroize;

use crate::{Error, Result};

/// `N` secret bytes: overwritten on drop, never printed, never cloned.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes` and wipes the given array.
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let secret = Self(Box::new(*bytes));
        bytes.zeroize();
        secret
    }

    /// Draws `N` bytes from the system's generator.
    pub fn generate() -> Result<Self> {
        Self::fill(|bytes| draw(bytes))
    }

    /// Lends the bytes.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Fills a new secret in place.
    pub(crate) fn fill<E>(
        fill: impl FnOnce(&mut [u8; N]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0)?;
        Ok(secret)
    }
}

/// Fills `bytes` from the system's generator.
#[allow(clippy::disallowed_methods, reason = "a seedable source of keys would be a weapon pointed at ourselves")]
pub(crate) fn draw(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::Cipher { action: "draw random bytes" })
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_wipes_the_original_and_debug_shows_nothing() {
        let mut bytes = [7u8; 4];
        let secret = Secret::take(&mut bytes);
        assert_eq!(bytes, [0; 4]);
        assert_eq!(secret.expose(), &[7; 4]);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
