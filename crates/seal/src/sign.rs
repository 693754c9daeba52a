//! Ed25519 signatures (RFC 8032) over commits and other public statements of a repository.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::{Error, Result, Secret};

/// Signs for one repository. Obtained from the keyring.
#[derive(Debug)]
pub struct Signer {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Signer {
    /// Makes the pair that a 32-byte seed stands for; fails only when the cipher library does.
    pub fn from_seed(seed: &Secret<32>) -> Result<Self> {
        let failed = Error::Cipher { action: "load the signing key" };
        let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(seed.expose()) else { return Err(failed) };
        let Ok(public) = pair.public_key().as_ref().try_into() else { return Err(failed) };
        Ok(Self { pair, public })
    }

    /// The key that verifies this signer's signatures.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// The signature of `message`.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let failed = |_| Error::Cipher { action: "sign" };
        let signature = self.pair.try_sign(message).map_err(failed)?;
        signature.as_ref().try_into().map_err(|_| Error::Cipher { action: "sign" })
    }
}

/// Checks that the owner of `public` signed `message`; [`Error::BadSignature`] otherwise.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<()> {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).map_err(|_| Error::BadSignature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn agrees_with_the_rfc() {
        let mut seed = [0; 32];
        assert!(crate::text::read_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", &mut seed));
        let mut public = [0; 32];
        assert!(crate::text::read_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", &mut public));
        let mut expected = [0; 64];
        let text = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert!(crate::text::read_hex(text, &mut expected));
        let signer = Signer::from_seed(&Secret::take(&mut seed)).unwrap();
        assert_eq!(signer.public_key(), public);
        assert_eq!(signer.sign(&[0x72]).unwrap(), expected);
    }

    #[test]
    fn every_altered_bit_is_seen() {
        let signer = Signer::from_seed(&Secret::generate().unwrap()).unwrap();
        let signature = signer.sign(b"commit 7").unwrap();
        verify(&signer.public_key(), b"commit 7", &signature).unwrap();
        assert!(matches!(verify(&signer.public_key(), b"commit 8", &signature), Err(Error::BadSignature)));
        for bit in 0..512 {
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&signer.public_key(), b"commit 7", &altered).is_err(), "bit {bit}");
        }
        let stranger = Signer::from_seed(&Secret::generate().unwrap()).unwrap();
        assert!(verify(&stranger.public_key(), b"commit 7", &signature).is_err());
    }
}
