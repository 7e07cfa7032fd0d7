//! Signatures of requests (Standard Webhooks 1.0, "Signature scheme"): an application can tell that a request is from its own Trident,
//! unchanged, and not an old one.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

/// What a secret begins with, for scanners that look for leaked ones.
const PREFIX: &str = "whsec_";
/// The size of a secret in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A key of signatures: `whsec_` and base64 of 24 to 64 bytes. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// A text is not a secret. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid secret: expected `whsec_` and base64 of 24 to 64 bytes; `echo whsec_$(openssl rand -base64 32)` creates one"
)]
pub struct InvalidSecret;

impl FromStr for SigningSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let base64 = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        let key = STANDARD_NO_PAD.decode(base64.trim_end_matches('=')).map_err(|_| InvalidSecret)?;
        if BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(InvalidSecret) }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Adds headers by which an application recognizes a request.
pub trait Sign: fmt::Debug + Sync {
    /// Adds the headers of a request with this id, which is visible ASCII, sent at `now`. A repetition has the same id and another time.
    fn sign(&self, id: &str, now: SystemTime, body: &[u8], headers: &mut HeaderMap);
}

/// Signs requests with each of its secrets: while one replaces another, applications that know either of them accept the request.
/// Without a secret, requests have an id and a time and no signature.
#[derive(Clone, Debug, Default)]
pub struct Signer(Vec<SigningSecret>);

impl Signer {
    /// A signer with these secrets.
    #[must_use]
    pub fn new(secrets: Vec<SigningSecret>) -> Self {
        Self(secrets)
    }
}

impl Sign for Signer {
    fn sign(&self, id: &str, now: SystemTime, body: &[u8], headers: &mut HeaderMap) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(ID, id);
        }
        headers.insert(TIMESTAMP, HeaderValue::from(seconds));
        let signatures: Vec<String> = self.0.iter().map(|secret| secret.signature(id, seconds, body)).collect();
        if let (false, Ok(all)) = (signatures.is_empty(), HeaderValue::from_str(&signatures.join(" "))) {
            headers.insert(SIGNATURE, all);
        }
    }
}

impl SigningSecret {
    fn signature(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        // A key of HMAC may have any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// An id that no other request has: `kind_` and 128 random bits in base64url.
#[must_use]
pub fn random_id(kind: &str) -> String {
    format!("{kind}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn signed(signer: &Signer) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let at = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
        signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, BODY, &mut headers);
        headers
    }

    /// The vector of the specification's own libraries.
    #[test]
    fn signature_of_the_specification() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let headers = signed(&Signer::new(vec![secret]));
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_give_two_signatures_and_none_gives_none() {
        let [old, new] = [1, 2].map(|byte| format!("whsec_{}", STANDARD.encode([byte; 24])));
        let both = signed(&Signer::new(vec![old.parse().unwrap(), new.parse().unwrap()]));
        let alone = signed(&Signer::new(vec![new.parse().unwrap()]));
        let both = both["webhook-signature"].to_str().unwrap();
        let (first, second) = both.split_once(' ').unwrap();
        assert!(first.starts_with("v1,") && first != second);
        assert_eq!(alone["webhook-signature"], second);
        let unsigned = signed(&Signer::default());
        assert!(unsigned.contains_key("webhook-id") && !unsigned.contains_key("webhook-signature"));
    }

    #[test]
    fn secrets_have_a_prefix_and_a_size() {
        let text = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for length in [24, 25, 64] {
            assert!(text(length).parse::<SigningSecret>().is_ok(), "{length}");
        }
        for bad in [text(23), text(65), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), "whsec_not base64!".to_owned()] {
            let error = bad.parse::<SigningSecret>().unwrap_err();
            assert!(!error.to_string().contains(&bad), "{error}");
        }
        assert_eq!(format!("{:?}", text(24).parse::<SigningSecret>().unwrap()), "SigningSecret(…)");
    }

    #[test]
    fn random_ids_are_unique() {
        let (one, other) = (random_id("call"), random_id("call"));
        assert!(one.starts_with("call_") && one.len() == 27 && one != other);
    }
}
