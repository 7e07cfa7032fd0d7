//! The address of an application.

use std::{fmt, str::FromStr};

use http::Uri;

/// An `http://` or `https://` URL of the application. It may lead to any address: the operator chose it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why a URL is not accepted. The text is not repeated: it may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: expected a URL such as https://app.example/trident")]
pub struct InvalidUrl(&'static str);

impl Endpoint {
    /// The URL for a request.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether requests to it are not encrypted.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme_str() != Some("https")
    }

    /// Its host: a name or an address, without the brackets of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }
}

impl FromStr for Endpoint {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.contains('#') {
            return Err(InvalidUrl("the URL has a fragment (`#`), which is never sent"));
        }
        if !(text.starts_with("http://") || text.starts_with("https://")) {
            return Err(InvalidUrl("the URL does not begin with http:// or https://"));
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl("invalid URL"))?;
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(InvalidUrl("the URL has no host"));
        };
        if authority.as_str().contains('@') {
            return Err(InvalidUrl("the URL has a user or a password; requests are authenticated by their signature"));
        }
        let has_port = authority.as_str().len() > authority.host().len();
        if has_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(InvalidUrl("the port of the URL is not a number from 1 to 65535"));
        }
        Ok(Self(uri))
    }
}

/// Without the query, which may contain a secret.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.0.scheme_str().unwrap_or("http"), self.0.authority());
        let hidden = if self.0.query().is_some() { "?…" } else { "" };
        write!(f, "{scheme}://{}{}{hidden}", authority.map_or("", |authority| authority.as_str()), self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_applications() {
        for (text, shown) in [
            ("http://127.0.0.1:3000/calls", "http://127.0.0.1:3000/calls"),
            ("https://app.example", "https://app.example/"),
            ("https://[::1]:8443/a/b?key=secret", "https://[::1]:8443/a/b?…"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string(), format!("{endpoint:?}")), (shown.to_owned(), shown.to_owned()));
        }
        for (text, why) in [
            ("", "does not begin with"),
            ("app.example/calls", "does not begin with"),
            ("/calls", "does not begin with"),
            ("ftp://app.example/", "does not begin with"),
            ("https://", "invalid URL"),
            ("https://user:hunter2@app.example/", "a user or a password"),
            ("https://app.example:99999/", "the port"),
            ("https://app.example:/", "the port"),
            ("https://app.example:0/", "the port"),
            ("https://app.example/#x", "a fragment"),
            ("https://app.example/a b", "invalid URL"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("https://app.example/trident"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
