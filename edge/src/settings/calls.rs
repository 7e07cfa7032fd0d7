//! Settings of calls to the application.

use std::{str::FromStr, time::Duration};

use actix_web::http::header::HeaderName;
use outgoing::Endpoint;

use super::{
    Fault,
    sources::Sources,
    table::{self, Setting},
    values::{self, shown},
};

/// What the application may be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Who is this client?
    Connect,
    /// May it subscribe?
    Subscribe,
    /// May it publish?
    Publish,
    /// What is the answer to this Socket.IO event?
    Event,
}

impl CallKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Subscribe, Self::Publish, Self::Event];

    /// Its name in settings, requests and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Event => "event",
        }
    }

    /// The name of its span in traces.
    #[must_use]
    pub(crate) const fn span(self) -> &'static str {
        match self {
            Self::Connect => "call connect",
            Self::Subscribe => "call subscribe",
            Self::Publish => "call publish",
            Self::Event => "call event",
        }
    }

    /// The setting with the URL of this kind alone.
    const fn url(self) -> Setting {
        match self {
            Self::Connect => table::CALL_URL_CONNECT,
            Self::Subscribe => table::CALL_URL_SUBSCRIBE,
            Self::Publish => table::CALL_URL_PUBLISH,
            Self::Event => table::CALL_URL_EVENT,
        }
    }
}

impl FromStr for CallKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            format!(
                "invalid kind {}: expected `connect`, `subscribe`, `publish`, `event`, separated by commas, or `none`",
                shown(text)
            )
        })
    }
}

/// The settings of calls.
#[derive(Clone, Debug)]
pub struct CallSettings {
    /// Where each kind is asked, in the order of [`CallKind::ALL`]; `None` for those that are not.
    pub urls: [Option<Endpoint>; CallKind::ALL.len()],
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Calls at a time.
    pub concurrency: usize,
    /// Headers of a client that are passed on besides its cookies.
    pub headers: Vec<HeaderName>,
    /// Socket.IO namespaces whose events are all calls.
    pub namespaces: Vec<String>,
}

impl CallSettings {
    /// Where this kind is asked, if it is.
    #[must_use]
    pub fn url(&self, kind: CallKind) -> Option<&Endpoint> {
        self.urls[kind as usize].as_ref()
    }

    /// Whether any kind is asked.
    #[must_use]
    pub fn any(&self) -> bool {
        self.urls.iter().any(Option::is_some)
    }
}

/// Reads them, and adds warnings of settings without an effect.
pub(super) fn read(from: &mut Sources<'_>, warnings: &mut Vec<String>) -> Option<CallSettings> {
    let common = from.read(&table::CALL_URL, url);
    let own = CallKind::ALL.map(|kind| from.read(&kind.url(), url));
    let kinds = from.read(&table::CALLS, kinds);
    let are_kinds_given = from.is_given(&table::CALLS);
    let timeout = from.read(&table::CALL_TIMEOUT, values::duration_above_zero);
    let concurrency = from.read(&table::CALL_CONCURRENCY, concurrency);
    let headers = from.read(&table::CALL_HEADERS, headers);
    let namespaces = from.read(&table::CALL_NAMESPACES, namespaces);
    let (common, kinds) = (common?, kinds?);
    let mut urls = CallKind::ALL.map(|_| None);
    for (kind, own) in CallKind::ALL.into_iter().zip(own) {
        let own = own?;
        if !kinds.contains(&kind) {
            if own.is_some() {
                let (setting, name) = (kind.url().variable(), kind.name());
                warnings.push(format!("{setting} has no effect: TRIDENT_CALLS does not contain `{name}`"));
            }
            continue;
        }
        urls[kind as usize] = own.or_else(|| common.clone());
        if urls[kind as usize].is_none() && are_kinds_given {
            let (setting, name) = (kind.url().variable(), kind.name());
            from.fault(Fault::new(&table::CALLS, format!("`{name}` has no URL: set TRIDENT_CALL_URL or {setting}")));
        }
    }
    let settings =
        CallSettings { urls, timeout: timeout?, concurrency: concurrency?, headers: headers?, namespaces: namespaces? };
    if common.is_some() && !settings.any() {
        warnings.push("TRIDENT_CALL_URL has no effect: TRIDENT_CALLS is `none`".to_owned());
    }
    Some(settings)
}

/// A URL; `None` if it is empty.
fn url(text: &str) -> Result<Option<Endpoint>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: outgoing::InvalidUrl| error.to_string())
}

/// A list of kinds; `none` is an empty list.
fn kinds(text: &str) -> Result<Vec<CallKind>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    text.split(',').map(|kind| kind.trim().parse()).collect()
}

fn concurrency(text: &str) -> Result<usize, String> {
    const MAX: usize = 100_000;
    match text.parse() {
        Ok(number) if (1..=MAX).contains(&number) => Ok(number),
        _ => Err(format!("invalid number of calls {}: expected 1 to {MAX}", shown(text))),
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn headers(text: &str) -> Result<Vec<HeaderName>, String> {
    let header = |name: &str| {
        name.parse().map_err(|_| {
            format!("invalid name of a header {}: expected names such as `x-tenant`, with commas", shown(name))
        })
    };
    list(text).map(header).collect()
}

fn namespaces(text: &str) -> Result<Vec<String>, String> {
    let namespace = |name: &str| match name {
        "/" => Err("the namespace `/` is the chat's: TRIDENT_CHAT=off makes its events calls".to_owned()),
        _ if name.starts_with('/') && !name.contains(['?', '#']) => Ok(name.to_owned()),
        _ => Err(format!("invalid namespace {}: expected names such as `/orders`, with commas", shown(name))),
    };
    list(text).map(namespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, settings::ServiceDefaults};

    fn read(env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        Settings::from_sources(&service, [], env.iter().copied())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    fn asked(settings: &Settings) -> Vec<(&'static str, String)> {
        let of = |kind: CallKind| Some((kind.name(), settings.backend.calls.url(kind)?.to_string()));
        CallKind::ALL.into_iter().filter_map(of).collect()
    }

    #[test]
    fn events_are_asked_about_by_default_once_there_is_a_url() {
        let none = read(&[]).unwrap();
        assert!(!none.backend.calls.any() && none.backend.chat);
        assert_eq!((none.backend.calls.timeout, none.backend.calls.concurrency), (Duration::from_secs(5), 64));
        let one = read(&[("TRIDENT_CALL_URL", "http://app/calls")]).unwrap();
        assert_eq!(asked(&one), [("event", "http://app/calls".to_owned())]);
    }

    #[test]
    fn each_kind_may_have_a_url_of_its_own() {
        let settings = read(&[
            ("TRIDENT_CALLS", "connect, event"),
            ("TRIDENT_CALL_URL", "http://app/calls"),
            ("TRIDENT_CALL_URL_CONNECT", "https://login/"),
            ("TRIDENT_CALL_URL_PUBLISH", "https://other/"),
            ("TRIDENT_CALL_HEADERS", "X-Tenant,accept-language"),
            ("TRIDENT_CALL_NAMESPACES", "/orders, /shop"),
        ]);
        let settings = settings.unwrap();
        let urls = [("connect", "https://login/".to_owned()), ("event", "http://app/calls".to_owned())];
        assert_eq!(asked(&settings), urls);
        assert_eq!(settings.backend.calls.headers, ["x-tenant", "accept-language"]);
        assert_eq!(settings.backend.calls.namespaces, ["/orders", "/shop"]);
        let warning = "TRIDENT_CALL_URL_PUBLISH has no effect: TRIDENT_CALLS does not contain `publish`";
        assert!(settings.warnings.iter().any(|one| one == warning), "{:?}", settings.warnings);
    }

    #[test]
    fn faults_name_the_setting_and_no_password() {
        let faults = read(&[
            ("TRIDENT_CALLS", "connect"),
            ("TRIDENT_CALL_TIMEOUT", "0"),
            ("TRIDENT_CALL_CONCURRENCY", "0"),
            ("TRIDENT_CALL_HEADERS", "a b"),
            ("TRIDENT_CALL_NAMESPACES", "orders"),
            ("TRIDENT_HOOK_SECRET", "hunter2"),
        ])
        .unwrap_err();
        for expected in [
            "TRIDENT_CALLS (--calls): `connect` has no URL: set TRIDENT_CALL_URL or TRIDENT_CALL_URL_CONNECT",
            "TRIDENT_CALL_TIMEOUT (--call-timeout): must be more than 0",
            "TRIDENT_CALL_CONCURRENCY (--call-concurrency): invalid number of calls `0`: expected 1 to 100000",
            "TRIDENT_CALL_HEADERS (--call-headers): invalid name of a header `a b`",
            "TRIDENT_CALL_NAMESPACES (--call-namespaces): invalid namespace `orders`: expected names such as `/orders`",
            "TRIDENT_HOOK_SECRET (--hook-secret): invalid secret: expected `whsec_` and base64",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {faults:?}");
        }
        assert!(!format!("{faults:?}").contains("hunter2"));
        let fault = |name: &str, text: &str| read(&[(name, text)]).unwrap_err().join("\n");
        assert!(fault("TRIDENT_CALLS", "events").contains("invalid kind `events`: expected `connect`"));
        assert!(fault("TRIDENT_CALL_NAMESPACES", "/").contains("TRIDENT_CHAT=off"));
        assert!(!fault("TRIDENT_CALL_URL", "https://user:hunter2@app/").contains("hunter2"));
    }

    #[test]
    fn a_url_without_a_secret_is_warned_of() {
        let url = ("TRIDENT_CALL_URL", "http://app/");
        let unsigned = read(&[url]).unwrap();
        assert!(unsigned.warnings.iter().any(|one| one.contains("TRIDENT_HOOK_SECRET")), "{:?}", unsigned.warnings);
        let secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
        let signed = read(&[url, ("TRIDENT_HOOK_SECRET", secrets)]).unwrap();
        assert_eq!((signed.backend.hook_secrets.len(), signed.warnings.len()), (2, 0));
        let three = format!("{secrets},whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB");
        assert!(read(&[("TRIDENT_HOOK_SECRET", &three)]).unwrap_err()[0].contains("at most two"));
    }
}
