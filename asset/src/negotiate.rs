//! What a request's headers ask for: an encoding, or nothing at all because the client has it already.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// `gzip`
    Gzip,
    /// `br`
    Brotli,
}

impl Encoding {
    /// What `Content-Encoding` says; nothing for what is not compressed.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

/// The smallest form that `Accept-Encoding` allows (RFC 9110, section 12.5.3). What has weight 0 is refused; among the rest the size decides, not
/// the weight, since browsers give none.
#[must_use]
pub fn encoding(headers: &HeaderMap) -> Encoding {
    let (mut gzip, mut brotli, mut any) = (None, None, None);
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let accepted = !is_zero(parameters);
            match name.trim().to_ascii_lowercase().as_str() {
                "br" => brotli = Some(accepted),
                "gzip" | "x-gzip" => gzip = Some(accepted),
                "*" => any = Some(accepted),
                _ => {}
            }
        }
    }
    let wants = |named: Option<bool>| named.or(any).unwrap_or(false);
    if wants(brotli) {
        Encoding::Brotli
    } else if wants(gzip) {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// Whether the parameters of a coding say `q=0`.
fn is_zero(parameters: &str) -> bool {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().strip_prefix(['q', 'Q']))
        .filter_map(|rest| rest.trim_start().strip_prefix('='))
        .any(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

/// Whether `If-None-Match` names this tag, weak or not, alone or in a list, or any (RFC 9110, section 13.1.2).
#[must_use]
pub fn none_match(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        // The server's own tags contain no comma, so a comma within another tag cannot produce one of them.
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || opaque(tag.as_bytes()) == opaque(etag.as_bytes()))
}

/// A tag without the mark of a weak one: what `If-None-Match` compares.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}
