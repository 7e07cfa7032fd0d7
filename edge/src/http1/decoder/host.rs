//! The target of a request (RFC 9112 §3.2) and its `Host` (RFC 9110 §7.2).

use std::net::Ipv6Addr;

use actix_http::RequestHead;
use actix_web::http::{
    Method, StatusCode,
    header::{self, HeaderValue},
};

/// The longest name of a host (RFC 1035 §2.3.4, RFC 3986 §3.2.2). Answers and subscriptions repeat it.
const MAX_NAME: usize = 255;

/// Accepts `/path`, `http://host/path` and, with `OPTIONS`, `*`. The host of the second replaces the header (RFC 9112 §3.2.2).
///
/// # Errors
/// 400 for any other target, and for an invalid host.
pub(super) fn accept_target(head: &mut RequestHead) -> Result<(), StatusCode> {
    let is_valid = head.headers.get_all(header::HOST).all(|host| is_host(host.as_bytes()));
    if !is_valid {
        return Err(StatusCode::BAD_REQUEST);
    }
    match (head.uri.scheme_str(), head.uri.authority()) {
        (None, None) if head.uri.path().starts_with('/') => Ok(()),
        (None, None) if head.uri.path() == "*" && head.method == Method::OPTIONS => Ok(()),
        (Some("http" | "https"), Some(authority)) if is_host(authority.as_str().as_bytes()) => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| StatusCode::BAD_REQUEST)?;
            head.headers.insert(header::HOST, host);
            Ok(())
        }
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2) with a host that is not empty, which could not identify a server.
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    if let Some(rest) = value.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = value.split_once(':').unwrap_or((value, ""));
    (1..=MAX_NAME).contains(&name.len()) && is_name(name.as_bytes()) && is_port(port)
}

/// `reg-name` (RFC 3986 §3.2.2), which includes IPv4 addresses.
fn is_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=', rest @ ..] => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() => rest,
            _ => return false,
        };
    }
}

/// Digits of a valid port; an empty one is the default.
fn is_port(port: &str) -> bool {
    port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}
