mod fixtures;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{ResponseError as _, http::StatusCode, test::TestRequest, web};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fixtures::*;
use proptest::prelude::*;
use shared::pure::{ChannelName, access::ClaimsFault};

use super::*;
use crate::{
    ApiError, Edge, Settings,
    connections::End,
    metrics::Transport,
    routes::RequestParts,
    settings::{Secret, ServiceDefaults},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

fn keys(pems: &[(&str, Option<&str>)]) -> Vec<PublicKey> {
    pems.iter().flat_map(|(pem, kid)| PublicKey::from_pem(pem, *kid).unwrap()).collect()
}

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

fn request(publish: &str, subscribe: &str) -> TokenRequest {
    TokenRequest {
        publish: publish.parse().unwrap(),
        subscribe: subscribe.parse().unwrap(),
        api: Vec::new(),
        ttl: Duration::from_secs(60),
        subject: Some("ann".to_owned()),
        audience: None,
    }
}

/// A token with this header and these claims, signed with the secret whatever the header says.
fn forged(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_minted_token_is_valid_until_it_expires() {
    let verifier = Verifier::with_keys([&secret()], vec![], None);
    let token = mint(&secret(), &request("news*", ""), at(1000)).unwrap();
    let claims = verifier.verify(&token, at(1059)).unwrap();
    assert_eq!((claims.exp, claims.sub.as_deref()), (1060.0, Some("ann")));
    assert!(claims.trident.publish.allow(&channel("news.x")) && !claims.trident.subscribe.allow(&channel("news")));
    let ended = verifier.verify(&token, at(1063)).unwrap_err();
    assert_eq!(ended.to_string(), "the token expired 3 s ago");
}

#[test]
fn each_kind_of_key_verifies_its_tokens_and_no_others() {
    let table = [("RS256", RSA, TOKEN_RS256), ("ES256", P256, TOKEN_ES256), ("EdDSA", ED25519, TOKEN_EDDSA)];
    for (algorithm, pem, token) in table {
        let verifier = Verifier::with_keys([], keys(&[(pem, None)]), None);
        assert_eq!(verifier.verify(token, at(0)).unwrap().sub.as_deref(), Some("ann"), "{algorithm}");
        for (other, _, token) in table.iter().filter(|(other, ..)| *other != algorithm) {
            let told = verifier.verify(token, at(0)).unwrap_err();
            assert_eq!(told, TokenFault::Algorithm(algorithm.to_owned()), "{other}");
        }
    }
    let all = Verifier::with_keys([&secret()], keys(&[(RSA, None), (P256, None), (ED25519, None)]), None);
    for (algorithm, _, token) in table {
        assert!(all.verify(token, at(0)).is_ok(), "{algorithm}");
    }
}

/// The classic of 2015: the public key, which anybody has, used as the secret of an HMAC.
#[test]
fn a_public_key_is_no_secret() {
    let verifier = Verifier::with_keys([], keys(&[(RSA, None)]), None);
    let claims = r#"{"exp":2000000000}"#;
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(RSA.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    for algorithm in ["HS256", "RS256"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}"}}"#));
        let token = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims));
        assert!(matches!(verifier.verify(&token, at(0)), Err(TokenFault::Algorithm(_) | TokenFault::Signature)));
    }
}

/// Case 12.10: the error of a token names the claim.
#[test]
fn an_invalid_token_is_reported_with_the_reason() {
    let verifier = Verifier::with_keys([&secret()], vec![], None);
    let good = forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000}"#);
    assert!(verifier.verify(&good, at(0)).is_ok());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let header = good.split('.').next().unwrap();
    let other_claims = URL_SAFE_NO_PAD.encode(r#"{"exp":2000000001}"#);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    for (token, reason) in [
        (String::new(), "three parts"),
        ("a.b".to_owned(), "three parts"),
        ("a.b.c.d".to_owned(), "three parts"),
        (format!("?.{message}"), "not base64url"),
        (format!("e30.{other_claims}.{signature}"), "not JSON with an `alg`"),
        (format!("{message}."), "signature"),
        (format!("{message}.!!"), "base64url"),
        (format!("{header}.{other_claims}.{signature}"), "signature"),
        (format!("{none}.{other_claims}."), "accepted: HS256"),
        (forged(r#"{"alg":"none"}"#, r#"{"exp":2000000000}"#), "accepted: HS256"),
        (forged(r#"{"alg":"hs256"}"#, r#"{"exp":2000000000}"#), "accepted: HS256"),
        (forged(r#"{"alg":"HS512"}"#, r#"{"exp":2000000000}"#), "accepted: HS256"),
        (forged(r#"{"alg":"RS256"}"#, r#"{"exp":2000000000}"#), "accepted: HS256"),
        (forged(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, r#"{"exp":2000000000}"#), "crit"),
        (forged(r#"{"alg":"HS256"}"#, "{}"), "the required claim `exp` is missing"),
        (forged(r#"{"alg":"HS256"}"#, r#"{"exp":"never"}"#), "claim `exp` must be a number of seconds since 1970"),
        (forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"nbf":"soon"}"#), "claim `nbf` must be a number of seconds"),
        (forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"sub":5}"#), "claim `sub` must be a text"),
        (
            forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"aud":[1]}"#),
            "claim `aud` must be a text or a list of texts",
        ),
        (
            forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"trident":{"subscribe":"a.*"}}"#),
            "claim `trident.subscribe` must be a list of texts",
        ),
        (
            forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"trident":{"publish":[1]}}"#),
            "claim `trident.publish` must be a list of texts",
        ),
        (
            forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"trident":{"api":["admin"]}}"#),
            "claim `trident.api` must be a list of \"read\" and \"write\"",
        ),
        (forged(r#"{"alg":"HS256"}"#, r#"{"exp":-1}"#), "seconds since 1970"),
        (forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"nbf":1500000000}"#), "claim nbf"),
        (forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"trident":{"publish":["a*b"]}}"#), "invalid pattern `a*b`"),
        (forged(r#"{"alg":"HS256"}"#, "[]"), "invalid claims"),
        (format!("{good}{}", "A".repeat(9000)), "longer than 8 KiB"),
    ] {
        let told = verifier.verify(&token, at(1_000_000_000)).unwrap_err().to_string();
        assert!(told.contains(reason), "{reason}: {told}");
        assert!(!told.contains(SECRET));
    }
}

#[test]
fn a_kid_picks_its_key_and_an_unknown_one_tries_all() {
    let named = Verifier::with_keys([], keys(&[(RSA, Some("first")), (RSA_SECOND, Some("second"))]), None);
    assert!(named.verify(TOKEN_RS256_SECOND, at(0)).is_ok());
    assert!(named.verify(TOKEN_RS256, at(0)).is_ok(), "without a kid every key is tried");
    let swapped = Verifier::with_keys([], keys(&[(RSA, Some("second")), (RSA_SECOND, Some("first"))]), None);
    assert_eq!(swapped.verify(TOKEN_RS256_SECOND, at(0)).unwrap_err(), TokenFault::Signature);
    let unnamed = Verifier::with_keys([], keys(&[(RSA, None), (RSA_SECOND, None)]), None);
    assert!(unnamed.verify(TOKEN_RS256_SECOND, at(0)).is_ok());
    let gone = Verifier::with_keys([], keys(&[(RSA, Some("first"))]), None);
    assert_eq!(gone.verify(TOKEN_RS256_SECOND, at(0)).unwrap_err(), TokenFault::Signature);
}

/// A secret is exchanged by adding the new one before the old one, and taking the old one away when its tokens have ended.
#[test]
fn secrets_are_exchanged_without_anybody_noticing() {
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let settings = |text: &str| Settings::from_sources(&SERVICE, ["--secret", text], []).unwrap().secrets;
    for (before, after) in [(old.clone(), format!("{new},{old}")), (format!("1={old}"), format!("2={new},1={old}"))] {
        let (before, during) = (settings(&before), settings(&after));
        let token = mint(&before[0], &request("news", ""), at(0)).unwrap();
        let newer = mint(&during[0], &request("news", ""), at(0)).unwrap();
        let verify = |secrets: &[Secret], token: &str| Verifier::with_keys(secrets, vec![], None).verify(token, at(0));
        assert!(verify(&during, &token).is_ok() && verify(&during, &newer).is_ok());
        assert_eq!(verify(&before, &newer).unwrap_err(), TokenFault::Signature);
        assert_eq!(verify(&during[..1], &token).unwrap_err(), TokenFault::Signature, "the old one is gone");
    }
    // A name does not let another key in.
    let named = settings(&format!("a={old},b={new}"));
    let swapped = settings(&format!("b={old}"));
    let token = mint(&swapped[0], &request("news", ""), at(0)).unwrap();
    assert_eq!(Verifier::with_keys(&named, vec![], None).verify(&token, at(0)).unwrap_err(), TokenFault::Signature);
}

#[test]
fn an_audience_that_is_set_has_to_be_there() {
    let verifier = Verifier::with_keys([&secret()], vec![], Some("push".to_owned()));
    let mut asked = request("", "");
    let token = mint(&secret(), &asked, at(0)).unwrap();
    assert_eq!(verifier.verify(&token, at(0)).unwrap_err(), TokenFault::Claims(ClaimsFault::Audience));
    asked.audience = Some("push".to_owned());
    assert!(verifier.verify(&mint(&secret(), &asked, at(0)).unwrap(), at(0)).is_ok());
    // Set on the token alone it says nothing that we would have to heed.
    let open = Verifier::with_keys([&secret()], vec![], None);
    assert!(open.verify(&mint(&secret(), &asked, at(0)).unwrap(), at(0)).is_ok());
}

#[test]
fn key_files_are_read_or_rejected_with_a_reason() {
    let both = format!("a comment\n{RSA}{P256}\n");
    assert_eq!(PublicKey::from_pem(&both, None).unwrap().len(), 2);
    for (bad, reason) in [
        ("", "no PEM block"),
        ("ssh-rsa AAAA", "no PEM block"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB", "no end"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "not a public key"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", "a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "a private key"),
        (RSA_SHORT, "2048"),
        (P384, "P-256"),
    ] {
        let told = PublicKey::from_pem(bad, None).unwrap_err();
        assert!(told.contains(reason), "{bad}: {told}");
    }
}

fn edge(args: &[&str]) -> Edge {
    Edge::new(Settings::from_sources(&SERVICE, args.iter().copied(), []).unwrap(), &SERVICE)
}

fn access(edge: &Edge, headers: &[(&str, &str)]) -> Result<Access, ApiError> {
    let mut request = TestRequest::get().app_data(web::Data::new(edge.clone())).insert_header(("host", "push.example"));
    for header in headers {
        request = request.append_header(*header);
    }
    let request = request.peer_addr("9.9.9.9:1".parse().unwrap()).to_http_request();
    Ok(Access::of(edge, &RequestParts::from(&request)))
}

fn token(publish: &str, subscribe: &str) -> String {
    mint(&secret(), &request(publish, subscribe), SystemTime::now()).unwrap()
}

#[test]
fn without_a_token_the_public_is_all_there_is() {
    let edge = edge(&["--secret", SECRET]);
    let access = access(&edge, &[]).unwrap();
    for (name, subscribe, chat) in [
        ("random", true, false),
        ("time", true, false),
        ("chat.x", true, true),
        ("public.x", true, false),
        ("news", false, false),
    ] {
        let channel = channel(name);
        assert_eq!((access.may_subscribe(&channel), access.may_chat(&channel)), (subscribe, chat), "{name}");
        assert!(!access.may_publish(&channel), "{name}");
    }
    assert!(matches!(access.require_publish(&channel("random")), Err(ApiError::TokenNeeded(_))));
    assert!(matches!(access.require_subscribe(&channel("news")), Err(ApiError::TokenNeeded(_))));
    assert_eq!((access.expires_at(), access.user()), (None, None));
    assert_eq!(access.identity(), Identity::Address(IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9))));
}

#[test]
fn a_token_adds_to_what_is_public() {
    let edge = edge(&["--secret", SECRET]);
    let bearer = format!("bEARER  {}", token("news*", "inner"));
    let access = access(&edge, &[("authorization", &bearer)]).unwrap();
    assert!(access.may_subscribe(&channel("inner")) && access.may_subscribe(&channel("random")));
    assert!(access.may_publish(&channel("news.x")) && !access.may_publish(&channel("random")));
    assert_eq!(access.user().as_deref(), Some("ann"));
    assert_eq!(access.identity(), Identity::Subject("ann".into()));
    let left = access.expires_in(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(55) && left <= Duration::from_secs(61), "{left:?}");
    let refused = access.require_publish(&channel("random")).unwrap_err();
    assert_eq!((refused.status_code(), refused.code()), (StatusCode::FORBIDDEN, "insufficient_scope"));
}

/// A handler may wait between the admission of a client and the registration of its connection.
#[tokio::test]
async fn a_connection_ends_for_what_happened_before_it_was_registered() {
    let disconnect = |edge: &Edge| {
        let (record, now) = (edge.refuse_user("ann", SystemTime::now(), Duration::from_secs(60)), SystemTime::now());
        edge.restore(&record, now);
    };
    let revoke = |edge: &Edge| {
        let (tokens, now) = (Revoked::User("ann".to_owned()), SystemTime::now());
        let revocation = Revocation { tokens, issued_before: None, expires: now + Duration::from_secs(60) };
        edge.revocations.add(revocation, now).unwrap();
    };
    let happenings: [(fn(&Edge), _); 3] =
        [(|_| {}, None), (disconnect, Some(End::Disconnected)), (revoke, Some(End::Revoked))];
    for (happen, end) in happenings {
        let edge = edge(&["--secret", SECRET]);
        let access = access(&edge, &[("authorization", &format!("Bearer {}", token("", "inner")))]).unwrap();
        let mut slot = edge.limits.connect(access.address(), Transport::Sse).unwrap();
        happen(&edge);
        access.register(&mut slot, &[channel("inner")]);
        assert_eq!(slot.end(), end);
        let polling = access.register_poll(&[channel("inner")], Duration::from_secs(1));
        assert_eq!(polling.connection().end(), end);
    }
}

/// Case 12.10: a 403 names the patterns that the token has, the first of them where they are many.
#[test]
fn a_forbidden_channel_is_reported_with_the_patterns_of_the_token() {
    let edge = edge(&["--secret", SECRET]);
    let many = vec!["c0123456789"; 100].join(",");
    for (publish, subscribe, shown) in [
        ("news*,jobs", "", "claim trident.publish has news*,jobs"),
        ("", "news*", "claim trident.publish has no pattern"),
        (&many, "", "c0123456789,…"),
    ] {
        let bearer = format!("Bearer {}", token(publish, subscribe));
        let refused = access(&edge, &[("authorization", &bearer)]).unwrap().require_publish(&channel("other"));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(shown) && refused.len() < 500, "{refused}");
    }
    let bearer = format!("Bearer {}", token("", "inner"));
    let refused = access(&edge, &[("authorization", &bearer)]).unwrap().require_subscribe(&channel("other"));
    assert!(refused.unwrap_err().to_string().ends_with("trident.subscribe has inner"));
}

/// Case 4.7: of several cookies the valid one counts, wherever it stands.
#[test]
fn a_valid_cookie_is_found_among_others() {
    let edge = edge(&["--secret", SECRET]);
    let good = token("news", "inner");
    let expired = forged(r#"{"alg":"HS256"}"#, r#"{"exp":1}"#);
    let cookie =
        |tokens: &[&str]| tokens.iter().map(|token| format!("trident_token={token}")).collect::<Vec<_>>().join("; ");
    for tokens in [[&*expired, &*good], [&*good, &*expired], ["x", &*good], ["", &*good]] {
        let cookie = cookie(&tokens);
        let access = access(&edge, &[("cookie", &cookie)]).unwrap();
        assert!(access.may_subscribe(&channel("inner")), "{cookie}");
        let request = TestRequest::get().insert_header(("cookie", cookie)).to_http_request();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let opened = Access::of_handshake(&edge, None, request.headers(), address).unwrap();
        assert!(opened.may_subscribe(&channel("inner")));
    }
    assert_eq!(edge.metrics.refusals.bad_token.get(), 0);
    let none = access(&edge, &[("cookie", &cookie(&[&expired, "x"]))]).unwrap();
    assert_eq!(none.require_subscribe(&channel("inner")).unwrap_err().code(), "bad_token");
    assert_eq!(edge.metrics.refusals.bad_token.get(), 1, "one request, one refusal");
    let many = access(&edge, &[("cookie", &cookie(&["a", "b", "c", "d", &good]))]).unwrap();
    assert!(!many.may_subscribe(&channel("inner")), "only the first few are verified");
}

#[test]
fn invalid_token_is_rejected_and_counted() {
    let edge = edge(&["--secret", SECRET]);
    let good = format!("Bearer {}", token("*", "*"));
    for headers in [
        &[("authorization", "Bearer x.y.z")][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer")],
        &[("cookie", "trident_token=x")],
        // The header counts more than the cookie, and two headers are one too many.
        &[("authorization", "Bearer x"), ("cookie", "trident_token=y")],
    ] {
        let access = access(&edge, headers).unwrap();
        assert!(access.may_subscribe(&channel("random")), "what is public stays open");
        for refused in [access.require_subscribe(&channel("inner")), access.require_publish(&channel("random"))] {
            let refused = refused.unwrap_err();
            assert_eq!((refused.status_code(), refused.code()), (StatusCode::UNAUTHORIZED, "bad_token"), "{headers:?}");
        }
    }
    assert_eq!((edge.metrics.refusals.bad_token.get(), edge.metrics.refusals.not_allowed.get()), (5, 0), "once each");
    let two = access(&edge, &[("authorization", &good), ("authorization", &good)]).unwrap();
    assert_eq!(two.require_publish(&channel("random")).unwrap_err().code(), "bad_token");
    assert!(access(&edge, &[("authorization", "Basic eDp5")]).unwrap().user().is_none(), "another scheme is not ours");
    assert!(access(&edge, &[("cookie", "trident_token=; other=1")]).unwrap().user().is_none());
}

#[test]
fn a_cookie_publishes_only_from_allowed_origins() {
    let edge = edge(&["--secret", SECRET, "--origins", "https://app.example,*"]);
    let cookie = format!("a=b; trident_token=\"{}\"; c=d", token("news", "inner"));
    for (origin, subscribe, publish) in [
        (Some("https://push.example"), true, true),
        (Some("https://app.example"), true, true),
        // `*` lets everybody read, yet without credentials.
        (Some("https://stranger.example"), false, false),
        (Some("null"), false, false),
        (None, true, false),
    ] {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let access = access(&edge, &headers).unwrap();
        assert_eq!(access.may_subscribe(&channel("inner")), subscribe, "{origin:?}");
        assert_eq!(access.may_publish(&channel("news")), publish, "{origin:?}");
        if !publish {
            assert_eq!(access.require_publish(&channel("news")).unwrap_err().code(), "bad_origin");
        }
    }
    let bearer = format!("Bearer {}", token("news", ""));
    let headers = [("authorization", bearer.as_str()), ("origin", "https://stranger.example")];
    assert!(access(&edge, &headers).unwrap().may_publish(&channel("news")), "a header is never sent by accident");
}

#[test]
fn without_a_key_publishing_is_closed_and_says_what_opens_it() {
    let edge = edge(&[]);
    for headers in [&[][..], &[("authorization", "Bearer x.y.z")], &[("cookie", "trident_token=left.over.here")]] {
        let access = access(&edge, headers).unwrap();
        assert!(access.may_subscribe(&channel("random")));
        let refused = access.require_publish(&channel("random")).unwrap_err();
        assert_eq!((refused.status_code(), refused.code()), (StatusCode::FORBIDDEN, "no_key"));
        let told = refused.to_string();
        assert!(told.contains("TRIDENT_SECRET") && told.contains("TRIDENT_JWT_PUBLIC_KEY_FILE"), "{told}");
        let refused = access.require_subscribe(&channel("news")).unwrap_err().to_string();
        assert!(refused.contains("TRIDENT_PUBLIC"), "{refused}");
    }
}

#[test]
fn tokens_without_a_subject_are_distinguished() {
    let edge = edge(&["--secret", SECRET]);
    let identity = |claims: &str| {
        let token = forged(r#"{"alg":"HS256"}"#, claims);
        Access::with_token(&edge, Some(&token), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap().identity()
    };
    let (one, other) = (identity(r#"{"exp":99999999999}"#), identity(r#"{"exp":99999999998}"#));
    assert!(one != other && one == identity(r#"{"exp":99999999999}"#), "{one} {other}");
    assert!(one.to_string().starts_with("token:"));
}

/// Dates beyond what clocks hold end nothing, and break nothing.
#[test]
fn a_token_for_ever() {
    let edge = edge(&["--secret", SECRET]);
    let token = forged(r#"{"alg":"HS256"}"#, r#"{"exp":1e300}"#);
    let access = Access::with_token(&edge, Some(&token), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    assert!(access.expires_in(SystemTime::now()).unwrap() > Duration::from_secs(1_000_000_000));
}

proptest! {
    /// No text but the token itself passes for it.
    #[test]
    fn a_modified_token_is_invalid(at in 0_usize..200, with in "[A-Za-z0-9._-]") {
        let verifier = Verifier::with_keys([&secret()], vec![], None);
        let good = forged(r#"{"alg":"HS256"}"#, r#"{"exp":2000000000,"sub":"ann"}"#);
        let at = at % good.len();
        let changed = format!("{}{with}{}", &good[..at], &good[at + 1..]);
        prop_assume!(changed != good);
        prop_assert!(verifier.verify(&changed, super::tests::at(0)).is_err(), "{}", changed);
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in ".{0,200}") {
        let verifier = Verifier::with_keys([&secret()], keys(&[(P256, None)]), None);
        prop_assert!(verifier.verify(&text, at(0)).is_err());
    }
}

/// A signature is checked once; whether the token is in force, each time.
#[test]
fn a_cached_token_still_expires() {
    let edge = edge(&["--secret", SECRET]);
    let asked = TokenRequest { ttl: Duration::from_secs(2), ..request("news", "") };
    let token = mint(&secret(), &asked, SystemTime::now()).unwrap();
    let who = || Access::with_token(&edge, Some(&token), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert!(who().unwrap().may_publish(&channel("news")));
    assert!(who().unwrap().may_publish(&channel("news")));
    assert_eq!(who().unwrap().identity(), who().unwrap().identity());
    while who().is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(who().unwrap_err().to_string().contains("expired"), "{}", who().unwrap_err());
    // Of one that was changed nothing is known.
    let mut changed = token.clone();
    changed.pop();
    assert!(Access::with_token(&edge, Some(&changed), IpAddr::V4(Ipv4Addr::LOCALHOST)).is_err());
}
