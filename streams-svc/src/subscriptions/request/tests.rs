use std::net::IpAddr;

use super::*;

fn read(body: &str) -> Result<Config, ConfigError> {
    Config::read(body.as_bytes(), &Guard::new(|address| address == IpAddr::from([127, 0, 0, 1])))
}

fn message(body: &str) -> String {
    match read(body) {
        Err(ConfigError::Invalid(message)) => message,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_configuration_is_normalized() {
    let webhook = r#"{"type":"webhook","streams":["/b/","a","b"],"webhook":{"url":"https://app.example/hook"}}"#;
    let config = read(webhook).unwrap();
    assert_eq!(config.streams, BTreeSet::from(["a".parse().unwrap(), "b".parse().unwrap()]));
    assert_eq!((config.lease_ms, config.pattern.as_ref()), (30_000, None));
    let pull =
        read(r#"{"type":"pull-wake","pattern":"/runs/*","wake_stream":"wake/pool","lease_ttl_ms":1000}"#).unwrap();
    assert_eq!(pull.delivery, Delivery::PullWake("wake/pool".parse().unwrap()));
    assert_eq!(pull.pattern.map(|pattern| pattern.to_string()).as_deref(), Some("runs/*"));
}

#[test]
fn what_is_missing_or_out_of_range_is_rejected() {
    for (body, why) in [
        ("", "invalid body"),
        (r#"{"type":"email","pattern":"a"}"#, "`type` is"),
        (r#"{"type":"webhook","webhook":{"url":"https://a.example"}}"#, "a `pattern`, `streams`, or both"),
        (r#"{"type":"webhook","pattern":"a"}"#, "has a `webhook.url`"),
        (r#"{"type":"pull-wake","pattern":"a"}"#, "has a `wake_stream`"),
        (r#"{"type":"pull-wake","streams":["w"],"wake_stream":"w"}"#, "its own `wake_stream`"),
        (r#"{"type":"pull-wake","pattern":"a*","wake_stream":"w"}"#, "a pattern has"),
        (r#"{"type":"pull-wake","streams":["a//b"],"wake_stream":"w"}"#, "a//b"),
        (r#"{"type":"pull-wake","streams":["a"],"wake_stream":"w","lease_ttl_ms":999}"#, "`lease_ttl_ms` is"),
        (r#"{"type":"pull-wake","streams":["a"],"wake_stream":"w","lease_ttl_ms":600001}"#, "`lease_ttl_ms` is"),
        (r#"{"type":"pull-wake","streams":["a"],"wake_stream":"w","lease_ttl_ms":1000.5}"#, "`lease_ttl_ms` is"),
    ] {
        let message = message(body);
        assert!(message.contains(why), "{body}: {message}");
    }
    let many = format!(r#"{{"type":"pull-wake","wake_stream":"w","streams":{:?}}}"#, vec!["a"; MAX_LINKS + 1]);
    assert!(message(&many).contains("at most"));
    let long =
        format!(r#"{{"type":"pull-wake","wake_stream":"w","pattern":"a","description":"{}"}}"#, "x".repeat(1_025));
    assert!(message(&long).contains("`description`"));
}

#[test]
fn urls_into_the_network_of_the_server_are_rejected() {
    let with = |url: &str| read(&format!(r#"{{"type":"webhook","pattern":"a","webhook":{{"url":"{url}"}}}}"#));
    for url in [
        "http://10.0.0.1/hook",
        "https://10.0.0.1/hook",
        "https://[::ffff:169.254.169.254]/latest",
        "http://169.254.169.254/",
        "http://8.8.8.8/",
        "ftp://a.example/",
        "https://user:password@a.example/",
        "/hook",
        &format!("https://a.example/{}", "x".repeat(2_048)),
    ] {
        assert!(matches!(with(url), Err(ConfigError::Url(_))), "{url}");
    }
    for url in ["https://a.example/hook", "https://8.8.8.8/", "http://127.0.0.1:3000/hook"] {
        assert!(with(url).is_ok(), "{url}");
    }
}

#[test]
fn paths_name_a_subscription_and_a_part_of_it() {
    let of = |path, part| assert_eq!(Route::of(path), Some(Route::Subscription("s-1".to_owned(), part)), "{path}");
    of("subscriptions/s-1", Part::Itself);
    of("subscriptions/s%2D1/streams", Part::Streams);
    of("subscriptions/s-1/streams/a%2Fb", Part::Stream("a/b".parse().unwrap()));
    of("subscriptions/s-1/streams/a/b", Part::Stream("a/b".parse().unwrap()));
    of("subscriptions/s-1/callback", Part::Callback);
    assert_eq!(Route::of("jwks.json"), Some(Route::Keys));
    for path in [
        "",
        "x",
        "subscriptions",
        "subscriptions/",
        "subscriptions/a%2Fcallback",
        "subscriptions/%ff",
        "subscriptions/a/other",
    ] {
        assert_eq!(Route::of(path), None, "{path}");
    }
}
