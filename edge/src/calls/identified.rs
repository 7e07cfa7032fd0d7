//! What an application answers to the question who a client is.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::pure::access::Patterns;

use super::recent::Footprint;
use crate::auth::MAX_USER_BYTES;

/// Maximum size of the answer in bytes: a part of it is stored with each connection.
const MAX_BYTES: usize = 8 * 1024;

/// The memory of a pattern in addition to its text.
const PATTERN: usize = 64;

/// The answer to a call `connect`.
#[derive(Debug)]
pub enum ConnectAnswer {
    /// The client may connect.
    Admitted(Identified),
    /// It may not, for this reason.
    Refused(String),
}

/// A client as the application knows it. What is absent stays as the client's token says.
#[derive(Debug, Default)]
pub struct Identified {
    /// The user.
    pub user: Option<Arc<str>>,
    /// The channels that it may read, instead of those of a token.
    pub subscribe: Option<Patterns>,
    /// The channels that it may publish to, instead of those of a token.
    pub publish: Option<Patterns>,
    /// When the connection ends.
    pub expires: Option<SystemTime>,
    /// Data of the application, which it gets back with each event.
    pub data: Option<Box<RawValue>>,
    /// When it was asked.
    pub at: Option<SystemTime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json<'a> {
    #[serde(default)]
    refuse: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    subscribe: Option<Patterns>,
    #[serde(default)]
    publish: Option<Patterns>,
    #[serde(default)]
    expires: Option<f64>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl ConnectAnswer {
    /// Reads the JSON of an answer that came at `now`.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(super) fn read(json: &str, now: SystemTime) -> Result<Self, String> {
        if json.len() > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        // A health page or a program that failed after its headers must not admit everybody.
        if json.is_empty() {
            return Err("it has no body; `{}` admits the client as its token says".to_owned());
        }
        let Json { refuse, user, subscribe, publish, expires, data } =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        if let Some(reason) = refuse {
            return Ok(Self::Refused(reason));
        }
        if user.as_ref().is_some_and(|user| user.is_empty() || user.len() > MAX_USER_BYTES) {
            return Err(format!("`user` is not 1 to {MAX_USER_BYTES} bytes"));
        }
        let expires = expires.map(|expires| {
            let since = Duration::try_from_secs_f64(expires).ok();
            let at = since.and_then(|since| UNIX_EPOCH.checked_add(since));
            at.ok_or_else(|| "`expires` is not a number of seconds since 1970".to_owned())
        });
        Ok(Self::Admitted(Identified {
            user: user.map(Into::into),
            subscribe,
            publish,
            expires: expires.transpose()?,
            data: data.map(ToOwned::to_owned),
            at: Some(now),
        }))
    }
}

impl Footprint for ConnectAnswer {
    fn footprint(&self) -> usize {
        match self {
            Self::Admitted(Identified { user, subscribe, publish, data, .. }) => {
                let patterns = subscribe.iter().chain(publish).flat_map(Patterns::iter);
                let patterns: usize = patterns.map(|pattern| PATTERN + pattern.to_string().len()).sum();
                user.as_ref().map_or(0, |user| user.len()) + data.as_ref().map_or(0, |data| data.get().len()) + patterns
            }
            Self::Refused(reason) => reason.len(),
        }
    }
}

impl Identified {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { user, subscribe, publish, expires, data, at: _ } = self;
        user.is_none() && subscribe.is_none() && publish.is_none() && expires.is_none() && data.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_optional_and_checked() {
        let read = |json: &str| ConnectAnswer::read(json, UNIX_EPOCH);
        let all = r#"{"user":"ann","subscribe":["orders.*"],"publish":[],"expires":1.5,"data":{"cart": 7}}"#;
        let Ok(ConnectAnswer::Admitted(ann)) = read(all) else { panic!() };
        assert_eq!(ann.user.as_deref(), Some("ann"));
        assert_eq!(ann.subscribe.map(|patterns| patterns.to_string()).as_deref(), Some("orders.*"));
        assert_eq!(ann.publish, Some(Patterns::default()));
        assert_eq!(ann.expires, Some(UNIX_EPOCH + Duration::from_millis(1_500)));
        assert_eq!(ann.data.map(|data| data.get().to_owned()).as_deref(), Some(r#"{"cart": 7}"#));
        let Ok(ConnectAnswer::Admitted(nobody)) = read("{}") else { panic!() };
        assert!(nobody.is_empty());
        assert!(
            matches!(read(r#"{"refuse":"log in first","user":"x"}"#), Ok(ConnectAnswer::Refused(why)) if why == "log in first")
        );
        for (bad, why) in [
            (r#"{"users":"ann"}"#, "unknown field `users`"),
            (r#"{"user":""}"#, "`user`"),
            (r#"{"user":7}"#, "invalid type"),
            (r#"{"subscribe":["a*b"]}"#, "invalid pattern"),
            (r#"{"subscribe":["$events"]}"#, "invalid pattern"),
            (r#"{"expires":-1}"#, "`expires`"),
            (r#"{"expires":1e300}"#, "`expires`"),
            (&format!(r#"{{"data":"{}"}}"#, "x".repeat(MAX_BYTES)), "more than 8192 bytes"),
            ("no", "expected"),
            ("", "no body"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
