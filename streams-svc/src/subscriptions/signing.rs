//! The key of the server: it signs webhooks (PROTOCOL.md of Durable Streams, §7.1) and makes the tokens of workers (§12.9).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use outgoing::Sign;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// See the module.
pub(super) struct ServerKey {
    key: SigningKey,
    kid: String,
}

/// A token of a worker is not one of this subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidToken;

impl ServerKey {
    /// A new key.
    pub(super) fn generate() -> Self {
        Self::of(rand::random())
    }

    /// The key that is stored.
    pub(super) fn stored(seed: &[u8]) -> Option<Self> {
        seed.try_into().ok().map(Self::of)
    }

    fn of(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        // The thumbprint of the key (RFC 7638, RFC 8037): the members that are required, in the order of their names.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, public(&key));
        let kid = format!("ds_{}", URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint)));
        Self { key, kid }
    }

    /// What is stored.
    pub(super) fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The name of the key.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK Set (RFC 7517 §5).
    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": [{
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
            "x": public(&self.key),
        }] })
    }

    /// The token of a worker of a subscription in this generation. `nonce` distinguishes subscriptions that have the same id one after the other.
    pub(super) fn token(&self, nonce: &str, generation: u64) -> String {
        let code = self.mac(nonce, generation).map(|mac| mac.finalize().into_bytes()).unwrap_or_default();
        format!("{generation}.{}", URL_SAFE_NO_PAD.encode(code))
    }

    /// The generation of a token of the subscription.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn generation_of(&self, nonce: &str, token: &str) -> Result<u64, InvalidToken> {
        let read = || {
            let (generation, code) = token.split_once('.')?;
            let (generation, code) = (generation.parse().ok()?, URL_SAFE_NO_PAD.decode(code).ok()?);
            self.mac(nonce, generation)?.verify_slice(&code).ok()?;
            Some(generation)
        };
        read().ok_or(InvalidToken)
    }

    fn mac(&self, nonce: &str, generation: u64) -> Option<Hmac<Sha256>> {
        let secret =
            Sha256::new().chain_update(b"tokens of subscriptions\0").chain_update(self.key.to_bytes()).finalize();
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).ok()?;
        mac.update(format!("{nonce}\0{generation}").as_bytes());
        Some(mac)
    }
}

fn public(key: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes())
}

impl Sign for ServerKey {
    fn sign(&self, _: &str, now: SystemTime, body: &[u8], headers: &mut HeaderMap) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let signature = self.key.sign(&[format!("{seconds}.").as_bytes(), body].concat());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        if let Ok(value) = HeaderValue::from_str(&format!("t={seconds},kid={},ed25519={signature}", self.kid)) {
            headers.insert(SIGNATURE, value);
        }
    }
}

/// Without the key.
impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ed25519_dalek::Signature;

    use super::*;

    /// The key of RFC 8037, appendix A, and its thumbprint there.
    fn key() -> ServerKey {
        ServerKey::stored(&URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap()).unwrap()
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        assert_eq!(key().kid(), "ds_kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let jwks = key().jwks();
        assert_eq!(jwks["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert!(!jwks.to_string().contains("nWGxne") && !format!("{:?}", key()).contains("nWGxne"));
        assert!(ServerKey::stored(b"short").is_none());
        assert_ne!(ServerKey::generate().kid(), ServerKey::generate().kid());
    }

    #[test]
    fn a_signature_is_over_the_time_and_the_body() {
        let mut headers = HeaderMap::new();
        key().sign("w_1", UNIX_EPOCH + Duration::from_secs(1_700_000_000), b"{}", &mut headers);
        let value = headers["webhook-signature"].to_str().unwrap();
        let (head, signature) = value.rsplit_once("ed25519=").unwrap();
        assert_eq!(head, format!("t=1700000000,kid={},", key().kid()));
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let verify = |text: &[u8]| key().key.verifying_key().verify_strict(text, &signature);
        assert!(verify(b"1700000000.{}").is_ok() && verify(b"1700000001.{}").is_err());
    }

    #[test]
    fn a_token_is_of_one_subscription_and_one_generation() {
        let token = key().token("nonce", 7);
        assert_eq!(key().generation_of("nonce", &token), Ok(7));
        assert_eq!(key().generation_of("another", &token), Err(InvalidToken));
        assert_eq!(ServerKey::generate().generation_of("nonce", &token), Err(InvalidToken));
        let code = token.split_once('.').unwrap().1;
        for forged in [format!("8.{code}"), code.to_owned(), "7.".to_owned(), String::new(), format!("7.{code}AA")] {
            assert_eq!(key().generation_of("nonce", &forged), Err(InvalidToken), "{forged}");
        }
    }
}
