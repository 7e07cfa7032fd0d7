//! Public keys that tokens are verified with, from PEM files (RFC 7468).

use jsonwebtoken::{Algorithm, DecodingKey};

/// A public key that verifies tokens.
#[derive(Clone, Debug)]
pub struct PublicKey(pub(super) Key);

/// A key, its name in tokens, and its one algorithm.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// The public keys in a PEM file, one or several: RSA (2048 bits and more) for RS256, P-256 for ES256, Ed25519 for EdDSA. `kid` is
    /// their name in tokens, if given.
    ///
    /// # Errors
    /// A sentence that describes the problem of the file.
    pub fn from_pem(pem: &str, kid: Option<&str>) -> Result<Vec<Self>, String> {
        const END: &str = "-----END ";
        let mut keys = Vec::new();
        let mut rest = pem;
        while let Some(begin) = rest.find("-----BEGIN ") {
            let block = &rest[begin..];
            let end = block.find(END).and_then(|end| {
                let tail = end + END.len();
                block[tail..].find("-----").map(|dashes| tail + dashes + 5)
            });
            let Some(end) = end else { return Err("a PEM block has no end".to_owned()) };
            keys.push(Self::from_block(&block[..end], kid)?);
            rest = &block[end..];
        }
        if keys.is_empty() {
            Err("it contains no PEM block; expected a PEM file with public keys".to_owned())
        } else {
            Ok(keys)
        }
    }

    fn from_block(block: &str, kid: Option<&str>) -> Result<Self, String> {
        if block.lines().next().is_some_and(|line| line.contains("PRIVATE KEY")) {
            return Err(
                "it contains a private key; use the public key, and keep the private one with the issuer".to_owned()
            );
        }
        let (pem, kid) = (block.as_bytes(), kid.map(ToOwned::to_owned));
        if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            // PKCS #1 of a modulus of 256 bytes takes a few more bytes.
            return match key.try_get_as_bytes() {
                Ok(der) if der.len() > 256 => Ok(Self(Key { kid, algorithm: Algorithm::RS256, key })),
                _ => Err("the RSA key is shorter than 2048 bits (RFC 7518 §3.3)".to_owned()),
            };
        }
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            // An uncompressed point of P-256 (SEC 1 §2.3.3) is 65 bytes; other curves are for other algorithms.
            return match key.try_get_as_bytes() {
                Ok(point) if point.len() == 65 => Ok(Self(Key { kid, algorithm: Algorithm::ES256, key })),
                _ => Err("the elliptic curve is not P-256, as ES256 requires".to_owned()),
            };
        }
        match DecodingKey::from_ed_pem(pem) {
            Ok(key) => Ok(Self(Key { kid, algorithm: Algorithm::EdDSA, key })),
            Err(_) => Err("a PEM block is not a public key of RSA, P-256 or Ed25519".to_owned()),
        }
    }
}
