//! Checks tokens: JSON Web Tokens (RFC 7519) that are signed with a key of ours.
//!
//! Each key is bound to one algorithm, HS256 to the secrets, and RS256, ES256 or EdDSA to a public key by its kind. The
//! header of a token only picks among the keys of the algorithm it names, so it can neither switch a public key into
//! an HMAC secret nor get by with `none` (RFC 8725 §3.1, §3.2).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::Deserialize;
use shared::pure::access::{Claims, ClaimsFault};

use crate::settings::{Secret, Settings};

/// Seconds before its `nbf` at which a token holds already, for issuers whose clock is ahead of ours.
pub const LEEWAY: f64 = 5.0;

/// Bytes of the longest token that is looked at. Headers are bounded by the server; Socket.IO's handshake is not.
const LONGEST: usize = 8 * 1024;

/// Why a token does not hold. The messages repeat nothing of the token and nothing of the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a JSON Web Token, or one that is not ours to read.
    #[error("this is not a token that can be read: {0}")]
    Malformed(String),
    /// Signed in a way that no key here is for.
    #[error("tokens signed with this algorithm (alg) are not accepted here; accepted: {0}")]
    Algorithm(String),
    /// Signed with another key, or changed since.
    #[error("the token's signature is of a key that this server does not know, or the token was changed since")]
    Signature,
    /// Well signed, and yet not valid now or here.
    #[error(transparent)]
    Claims(#[from] ClaimsFault),
}

/// A public key that tokens are verified with.
#[derive(Clone, Debug)]
pub struct PublicKey(Key);

/// A key, the name that tokens call it by, and the one algorithm that it is for.
#[derive(Clone, Debug)]
struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl PublicKey {
    /// The public keys in a PEM file, one or several: RSA (2048 bits and more) for RS256, P-256 for ES256, Ed25519 for
    /// EdDSA. `kid`, when given, is the name that tokens call them by.
    ///
    /// # Errors
    /// A sentence on what is wrong with the file.
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
            Err("no PEM block in it; accepted are PEM files with public keys".to_owned())
        } else {
            Ok(keys)
        }
    }

    fn from_block(block: &str, kid: Option<&str>) -> Result<Self, String> {
        if block.lines().next().is_some_and(|line| line.contains("PRIVATE KEY")) {
            return Err(
                "it holds a private key; give its public key, and keep the private one with the issuer".to_owned()
            );
        }
        let (pem, kid) = (block.as_bytes(), kid.map(ToOwned::to_owned));
        if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            // PKCS #1 of a modulus of 256 bytes takes a few more than that.
            return match key.try_get_as_bytes() {
                Ok(der) if der.len() > 256 => Ok(Self(Key { kid, algorithm: Algorithm::RS256, key })),
                _ => Err("the RSA key is shorter than 2048 bits (RFC 7518 §3.3)".to_owned()),
            };
        }
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            // An uncompressed point of P-256 (SEC 1 §2.3.3) is 65 bytes; other curves are for other algorithms.
            return match key.try_get_as_bytes() {
                Ok(point) if point.len() == 65 => Ok(Self(Key { kid, algorithm: Algorithm::ES256, key })),
                _ => Err("the elliptic curve is not P-256, the one of ES256".to_owned()),
            };
        }
        match DecodingKey::from_ed_pem(pem) {
            Ok(key) => Ok(Self(Key { kid, algorithm: Algorithm::EdDSA, key })),
            Err(_) => Err("a PEM block is no public key of RSA, P-256 or Ed25519".to_owned()),
        }
    }
}

/// The keys of this server, and what they are asked.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    keys: Vec<Key>,
    audience: Option<String>,
}

/// The part of a token's header that matters here (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Verifier {
    /// The keys that the settings name.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::with_keys(&settings.secrets, settings.public_keys.clone(), settings.audience.clone())
    }

    /// These keys; `audience`, when given, has to be in every token's `aud`.
    #[must_use]
    pub fn with_keys<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        public: Vec<PublicKey>,
        audience: Option<String>,
    ) -> Self {
        let secrets = secrets.into_iter().map(|secret| Key {
            kid: secret.kid().map(ToOwned::to_owned),
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.as_bytes()),
        });
        Self { keys: secrets.chain(public.into_iter().map(|public| public.0)).collect(), audience }
    }

    /// Whether a token with these claims, of which the signature was verified, is in force at `now`, and here.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), TokenFault> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Ok(claims.check(now, LEEWAY, self.audience.as_deref())?)
    }

    /// Whether there is a key at all; without one nobody can show a token that holds.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The claims of `token`, when it holds at `now`.
    ///
    /// # Errors
    /// The first reason why it does not.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, TokenFault> {
        let header = header(token)?;
        let candidates = self.candidates(&header);
        if candidates.is_empty() {
            return Err(TokenFault::Algorithm(self.algorithms()));
        }
        let claims = candidates.into_iter().find_map(|(algorithm, key)| signed(token, algorithm, key).transpose());
        let claims = claims.unwrap_or(Err(TokenFault::Signature))?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    /// The keys that a token with this header may be signed with: those of its algorithm, and of these the ones with its
    /// `kid`. A `kid` that no key bears only says that the operator did not name the keys; then all of them are tried.
    fn candidates(&self, header: &Header) -> Vec<(Algorithm, &DecodingKey)> {
        let fits = |key: &&Key| name(key.algorithm) == header.alg;
        let named = |key: &&Key| key.kid.is_some() && key.kid == header.kid;
        let any_named = self.keys.iter().filter(fits).any(|key| named(&key));
        self.keys
            .iter()
            .filter(fits)
            .filter(|key| !any_named || named(key))
            .map(|key| (key.algorithm, &key.key))
            .collect()
    }

    fn algorithms(&self) -> String {
        let mut names: Vec<&str> = self.keys.iter().map(|key| name(key.algorithm)).collect();
        names.dedup();
        names.join(", ")
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "none of ours",
    }
}

fn header(token: &str) -> Result<Header, TokenFault> {
    let malformed = |what: &str| TokenFault::Malformed(what.to_owned());
    if token.len() > LONGEST {
        return Err(malformed("it is longer than 8 KiB"));
    }
    let mut parts = token.split('.');
    let (Some(first), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("a JSON Web Token has three parts with dots between"));
    };
    let bytes = URL_SAFE_NO_PAD.decode(first).map_err(|_| malformed("its header is not base64url"))?;
    let header: Header =
        serde_json::from_slice(&bytes).map_err(|_| malformed("its header is not JSON with an `alg`"))?;
    if header.crit.is_some() {
        // RFC 7515 §4.1.11: extensions that are not understood make a token invalid, and we understand none.
        return Err(malformed("its header has `crit` extensions, none of which are understood"));
    }
    Ok(header)
}

/// The claims when `key` signed the token, nothing when another key did.
fn signed(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Option<Claims>, TokenFault> {
    let mut validation = Validation::new(algorithm);
    // Dates and audience are ours to check, with the caller's clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<Claims>(token, key, &validation) {
        Ok(data) => Ok(Some(data.claims)),
        Err(error) => match error.kind() {
            ErrorKind::Json(error) => {
                // Where in the claims says nothing to who sees them encoded.
                let error = error.to_string();
                let what = error.split(" at line ").next().unwrap_or_default();
                let what = match what.strip_prefix("missing field ") {
                    Some(claim) => format!("the required claim {claim} is missing"),
                    None => format!("its claims are not as expected: {what}"),
                };
                Err(TokenFault::Malformed(what))
            }
            ErrorKind::Base64(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
                Err(TokenFault::Malformed("one of its parts is not base64url".to_owned()))
            }
            _ => Ok(None),
        },
    }
}
