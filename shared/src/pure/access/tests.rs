use proptest::prelude::*;

use super::*;

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

#[test]
fn patterns_reach_what_they_say() {
    for (pattern, name, reached) in [
        ("news", "news", true),
        ("news", "news2", false),
        ("news", "new", false),
        ("news*", "news", true),
        ("news*", "news.sport", true),
        ("news*", "new", false),
        ("news.*", "news", false),
        ("*", "anything", true),
        ("News*", "news", false),
        ("a.b", "aXb", false),
        ("*", "user.ann", true),
        ("*", "$events", false),
    ] {
        let pattern: Pattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&channel(name)), reached, "{pattern} on {name}");
    }
}

#[test]
fn invalid_patterns_are_rejected() {
    for bad in
        ["", "a*b", "**", "$events", "$*", "$e*", "a**", "a b", "ä*", " news", "a\n*", &format!("{}*", "x".repeat(129))]
    {
        assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
    }
    let told = "a\n\u{1b}[31m*".parse::<Pattern>().unwrap_err().to_string();
    assert!(!told.contains(char::is_control), "{told:?}");
}

#[test]
fn lists_of_patterns() {
    let list: Patterns = "random, chat.* ,public.*".parse().unwrap();
    assert!(list.allow(&channel("chat.lobby")) && list.allow(&channel("random")) && !list.allow(&channel("chat")));
    assert_eq!(list.to_string(), "random,chat.*,public.*");
    for none in ["", " ", "none"] {
        assert!(none.parse::<Patterns>().unwrap().is_empty(), "{none:?}");
    }
    for bad in ["a,,b", ",a", "a,", "a;b"] {
        assert!(bad.parse::<Patterns>().is_err(), "{bad:?}");
    }
}

#[test]
fn claims_are_read_from_json() {
    let claims: Claims = serde_json::from_str(
        r#"{"exp":2000000000,"nbf":1.5,"sub":"x","aud":["a","b"],"iat":1,"trident":{"publish":["news*"],"later":1}}"#,
    )
    .unwrap();
    assert!(claims.trident.publish.allow(&channel("news1")) && claims.trident.subscribe.is_empty());
    for bad in [
        r#"{}"#,
        r#"{"exp":"2000000000"}"#,
        r#"{"exp":null}"#,
        r#"{"exp":1,"nbf":"x"}"#,
        r#"{"exp":1,"sub":7}"#,
        r#"{"exp":1,"aud":7}"#,
        r#"{"exp":1,"trident":{"publish":"*"}}"#,
        r#"{"exp":1,"trident":{"publish":["a*b"]}}"#,
    ] {
        assert!(serde_json::from_str::<Claims>(bad).is_err(), "{bad}");
    }
}

#[test]
fn whole_dates_are_written_as_whole_numbers() {
    let claims = Claims { exp: 2e9, nbf: None, iat: None, sub: None, jti: None, aud: None, trident: Grants::default() };
    assert_eq!(serde_json::to_string(&claims).unwrap(), r#"{"exp":2000000000,"trident":{}}"#);
}

#[test]
fn claims_are_valid_between_their_dates() {
    let claims = |exp: f64, nbf: Option<f64>| Claims {
        exp,
        nbf,
        iat: None,
        sub: None,
        jti: None,
        aud: None,
        trident: Grants::default(),
    };
    for (exp, nbf, now, verdict) in [
        (100.0, None, 99.0, Ok(())),
        (100.0, None, 99.9, Ok(())),
        (100.0, None, 100.0, Err(ClaimsFault::Expired(0))),
        (100.0, None, 105.0, Err(ClaimsFault::Expired(5))),
        (100.0, None, 1e12, Err(ClaimsFault::Expired(999_999_999_900))),
        (100.0, Some(50.0), 45.0, Ok(())),
        (100.0, Some(50.0), 44.0, Err(ClaimsFault::Early(6))),
        (f64::NAN, None, 1.0, Err(ClaimsFault::Date)),
        (f64::INFINITY, None, 1.0, Err(ClaimsFault::Date)),
        (-1.0, None, 0.0, Err(ClaimsFault::Date)),
        (100.0, Some(f64::INFINITY), 1.0, Err(ClaimsFault::Date)),
    ] {
        assert_eq!(claims(exp, nbf).check(now, 5.0, None), verdict, "exp {exp} nbf {nbf:?} now {now}");
    }
}

#[test]
fn the_audience_counts_when_one_is_set() {
    let claims = |aud: Option<Audience>| Claims {
        exp: 10.0,
        nbf: None,
        iat: None,
        sub: None,
        jti: None,
        aud,
        trident: Grants::default(),
    };
    let one = || Some(Audience::One("a".into()));
    let several = || Some(Audience::Several(vec!["x".into(), "a".into()]));
    for aud in [None, one(), several()] {
        assert_eq!(claims(aud).check(1.0, 0.0, None), Ok(()));
    }
    assert_eq!(claims(one()).check(1.0, 0.0, Some("a")), Ok(()));
    assert_eq!(claims(several()).check(1.0, 0.0, Some("a")), Ok(()));
    for aud in [None, one(), several(), Some(Audience::Several(vec![]))] {
        assert_eq!(claims(aud).check(1.0, 0.0, Some("b")), Err(ClaimsFault::Audience));
    }
}

/// Valid channel names of at most `longest` characters.
fn names(longest: usize) -> impl Strategy<Value = String> {
    let text = proptest::string::string_regex(&format!("[a-z.~_-]{{1,{longest}}}")).unwrap();
    text.prop_filter("a channel name", |text| text.parse::<ChannelName>().is_ok())
}

/// A prefix of a name need not be a name itself.
#[test]
fn a_prefix_may_end_within_a_path() {
    for (pattern, name, is_match) in
        [("orders/*", "orders/17", true), ("orders/*", "orders", false), ("a/.*", "a/.b", true), (".*", "..a", true)]
    {
        assert_eq!(pattern.parse::<Pattern>().unwrap().matches(&channel(name)), is_match, "{pattern} {name}");
    }
    for bad in ["orders/", "/*", "a//*", "../*", "$*"] {
        assert!(bad.parse::<Pattern>().is_err(), "{bad}");
    }
}

proptest! {
    /// A prefix pattern reaches exactly the names that begin with it, a name exactly itself.
    #[test]
    fn a_pattern_is_its_definition(stem in names(6), star: bool, name in names(8)) {
        let pattern: Pattern = format!("{stem}{}", if star { "*" } else { "" }).parse().unwrap();
        let expected = if star { name.starts_with(&stem) } else { name == stem };
        prop_assert_eq!(pattern.matches(&channel(&name)), expected);
    }

    /// An accepted pattern round-trips, and the error for a rejected one contains no control characters.
    #[test]
    fn any_text_is_a_pattern_or_an_error(text in ".{0,80}") {
        match text.parse::<Pattern>() {
            Ok(pattern) => prop_assert_eq!(pattern.to_string(), text),
            Err(told) => prop_assert!(!told.to_string().contains(char::is_control)),
        }
    }
}
