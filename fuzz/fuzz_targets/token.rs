//! Tokens: text that claims to be one, and claims that a good signature vouches for. Nobody gets in without a signature.

#![no_main]

use edge::{
    auth::{PublicKey, Verifier},
    settings::Secret,
};
use libfuzzer_sys::fuzz_target;
use shared::pure::{
    ChannelName,
    access::{Claims, Patterns},
};
use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let secret = Secret::new("a key that is good for fuzzing alone").expect("long enough");
    Verifier::with_keys([&secret], Vec::new(), Some("push".to_owned()))
});

fuzz_target!(|text: &str| {
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = VERIFIER.verify(text, now).expect_err("nobody here can sign").to_string();
    assert!(told.len() < 500 && !told.contains("good for fuzzing"), "{told}");
    let _ = PublicKey::from_pem(text, None);
    if let Ok(patterns) = text.parse::<Patterns>() {
        assert_eq!(patterns.to_string().parse::<Patterns>().as_ref(), Ok(&patterns));
    }
    let Ok(claims) = serde_json::from_str::<Claims>(text) else { return };
    if claims.check(1.8e9, 5.0, Some("push")).is_ok() {
        assert!(claims.exp > 1.8e9 && claims.nbf.is_none_or(|nbf| nbf <= 1.8e9 + 5.0) && claims.aud.is_some());
    }
    let json = serde_json::to_string(&claims).expect("claims are JSON");
    let again: Claims = serde_json::from_str(&json).expect("and read back");
    let channel: ChannelName = "news.x".parse().expect("a name");
    assert_eq!(again.trident.publish.allow(&channel), claims.trident.publish.allow(&channel));
});
