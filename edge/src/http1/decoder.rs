//! The one place that decides what the bytes of a connection mean (RFC 9112). It does no I/O.
//!
//! ```text
//! inbox ─▶ read_head: skip empty lines, find the end, check the size ─▶ actix-http's decoder ─▶ target, Host, Upgrade, framing
//!       └▶ read_body: Content-Length | chunks (strict) | a tunnel, until its end
//! ```
//!
//! A head is handed to actix-http's decoder as a whole and alone, so that it can neither read beyond it nor be given more than it
//! can take. What decides about the rest of the connection is then made unambiguous in the decoded request itself: of an absolute
//! target the authority replaces `Host`, and `Upgrade` is there exactly when the connection can become a WebSocket. Whoever handles
//! the request reads that and never the bytes.

mod chunked;
mod host;
#[cfg(test)]
mod tests;

use actix_http::{Request, ServiceConfig, h1};
use actix_web::{
    error::ParseError,
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderValue},
    },
    rt,
};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

use self::chunked::Chunked;

/// Bytes of the largest head. A hundred and twenty-eight channels of the longest names fit.
pub const MAX_HEAD: usize = 64 * 1024;

/// The requests of one connection, head and body in turn.
#[derive(Debug)]
pub struct Decoder {
    config: ServiceConfig,
    /// So many bytes of the inbox hold no end of a head. They are not searched again for each byte that comes after them.
    searched: usize,
    body: Body,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// As actix-http decoded it; without a payload.
    pub request: Request,
    /// Whether the client wants to keep the connection, and the message has an end.
    pub keeps_alive: bool,
    /// The client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether a body follows.
    pub has_body: bool,
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Some bytes of it, at least one.
    Data(Bytes),
    /// That was all.
    End,
}

/// A body whose framing is broken. Where it ends is unknown, and so is where another request would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the framing of the body is broken")]
pub struct BrokenBody;

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Debug, Default)]
enum Body {
    #[default]
    Done,
    /// Bytes that are still to come.
    Length(u64),
    Chunked(Chunked),
    /// Whatever comes is the body: the connection is a WebSocket, or would have been.
    Tunnel,
    Broken,
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    #[must_use]
    pub fn new(config: ServiceConfig) -> Self {
        Self { config, searched: 0, body: Body::Done }
    }

    /// As [`new`](Self::new), where there is no server and no runtime: for tests and fuzzing.
    #[must_use]
    pub fn detached() -> Self {
        thread_local! {
            // Actix-http's configuration starts a clock, so it has to be made within a runtime.
            static CONFIG: ServiceConfig = rt::System::new().block_on(async { ServiceConfig::default() });
        }
        Self::new(CONFIG.with(ServiceConfig::clone))
    }

    /// Whether `inbox` holds the beginning of a head. Empty lines before one are none (RFC 9112 §2.2).
    #[must_use]
    pub fn has_begun(inbox: &[u8]) -> bool {
        !matches!(inbox, [] | [b'\r'])
    }

    /// Takes the next head out of `inbox`, if all of it is there. To be called when the body before it is done.
    ///
    /// # Errors
    /// The status to refuse the connection with.
    pub fn read_head(&mut self, inbox: &mut BytesMut) -> Result<Option<Head>, StatusCode> {
        debug_assert!(self.is_body_done(), "the body before this head was not read");
        if self.searched == 0 {
            while let [b'\n', ..] | [b'\r', b'\n', ..] = inbox[..] {
                inbox.advance(if inbox[0] == b'\n' { 1 } else { 2 });
            }
            if !Self::has_begun(inbox) {
                return Ok(None);
            }
        }
        let Some(length) = head_length(inbox, self.searched) else {
            if inbox.len() >= MAX_HEAD {
                // RFC 9112 §3: a request line that is too long has a status of its own.
                let has_line = memchr::memchr(b'\n', inbox).is_some();
                return Err(if has_line {
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
                } else {
                    StatusCode::URI_TOO_LONG
                });
            }
            self.searched = inbox.len();
            return Ok(None);
        };
        self.searched = 0;
        if length > MAX_HEAD {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let mut bytes = BytesMut::from(&inbox[..length]);
        inbox.advance(length);
        accept_minor_version(&mut bytes)?;
        // A codec for each head: it keeps nothing that we want from one to the next.
        let decoded = h1::Codec::new(self.config.clone()).decode(&mut bytes);
        match decoded {
            Ok(Some(h1::Message::Item(request))) if bytes.is_empty() => self.accept(request).map(Some),
            Err(ParseError::TooLarge) => Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    }

    /// Checks what actix-http's decoder leaves open, and decides how the body ends.
    fn accept(&mut self, mut request: Request) -> Result<Head, StatusCode> {
        let head = request.head_mut();
        if head.method == Method::CONNECT {
            return Err(StatusCode::NOT_IMPLEMENTED);
        }
        host::accept_target(head)?;
        let length = content_length(&head.headers)?;
        let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        let is_upgrade = head.version == Version::HTTP_11
            && head.method == Method::GET
            && head.upgrade()
            && names_websocket(&head.headers);
        if is_upgrade {
            if is_chunked || length > 0 {
                return Err(StatusCode::BAD_REQUEST);
            }
            head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        } else {
            // RFC 9110 §7.8: to be ignored in HTTP/1.0, and allowed to be in any other request.
            head.headers.remove(header::UPGRADE);
        }
        self.body = if is_upgrade {
            Body::Tunnel
        } else if is_chunked {
            // Actix-http's decoder takes `chunked` alone, in HTTP/1.1 alone, and not beside a length.
            Body::Chunked(Chunked::default())
        } else if length > 0 {
            Body::Length(length)
        } else {
            Body::Done
        };
        let keeps_alive = match head.connection_type() {
            ConnectionType::KeepAlive => true,
            ConnectionType::Upgrade => !is_upgrade && head.version >= Version::HTTP_11,
            ConnectionType::Close => false,
        };
        let has_body = !self.is_body_done();
        let expects_continue = head.expect() && has_body;
        Ok(Head { request, keeps_alive, expects_continue, has_body })
    }

    /// Takes what has come of the body out of `inbox`; none: more has to come first.
    ///
    /// # Errors
    /// When the chunks are not as RFC 9112 §7.1 has them; then for good.
    pub fn read_body(&mut self, inbox: &mut BytesMut) -> Result<Option<Part>, BrokenBody> {
        let part = match &mut self.body {
            Body::Done => Some(Part::End),
            Body::Broken => return Err(BrokenBody),
            Body::Length(left) => {
                let data = take(inbox, *left);
                *left -= data.len() as u64;
                if *left == 0 && data.is_empty() {
                    Some(Part::End)
                } else {
                    (!data.is_empty()).then_some(Part::Data(data))
                }
            }
            Body::Tunnel => {
                let data = take(inbox, u64::MAX);
                (!data.is_empty()).then_some(Part::Data(data))
            }
            Body::Chunked(chunked) => match chunked.read(inbox) {
                Ok(part) => part,
                Err(broken) => {
                    self.body = Body::Broken;
                    return Err(broken);
                }
            },
        };
        if part == Some(Part::End) {
            self.body = Body::Done;
        }
        Ok(part)
    }

    /// Whether all of the body was read, so that a head may follow.
    #[must_use]
    pub fn is_body_done(&self) -> bool {
        matches!(self.body, Body::Done)
    }

    /// Whether the body has no end but that of the connection.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        matches!(self.body, Body::Tunnel)
    }

    /// Bytes of the body that are still to be read, where that is known.
    #[must_use]
    pub fn body_left(&self) -> Option<u64> {
        match self.body {
            Body::Done => Some(0),
            Body::Length(left) => Some(left),
            Body::Chunked(_) | Body::Tunnel | Body::Broken => None,
        }
    }

    /// The body as a whole, if it has a length and all of it is in `inbox`, where it stays.
    #[must_use]
    pub fn whole_body<'b>(&self, inbox: &'b [u8]) -> Option<&'b [u8]> {
        inbox.get(..usize::try_from(self.body_left()?).ok()?)
    }

    /// Goes over the body that [`whole_body`](Self::whole_body) gave.
    pub fn skip_whole_body(&mut self, inbox: &mut BytesMut) {
        if let Some(length) = self.whole_body(inbox).map(<[u8]>::len) {
            inbox.advance(length);
            self.body = Body::Done;
        }
    }
}

/// Up to `most` bytes from the beginning of `inbox`.
fn take(inbox: &mut BytesMut, most: u64) -> Bytes {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(inbox.len());
    inbox.split_to(length).freeze()
}

/// Bytes of the head at the beginning of `bytes`, its empty line included, none of which ends within the first `searched`. A line
/// may end with a bare LF (RFC 9112 §2.2).
fn head_length(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(2);
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| match &bytes[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// A later minor version than ours is read as ours (RFC 9110 §6.2); of another major version we know nothing.
fn accept_minor_version(head: &mut [u8]) -> Result<(), StatusCode> {
    let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
    let Some([b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) = line.last_chunk::<9>() else { return Ok(()) };
    match (major, minor) {
        (b'1', b'2'..=b'9') => {
            let at = line.len() - 1;
            head[at] = b'1';
            Ok(())
        }
        (b'0' | b'2'..=b'9', b'0'..=b'9') => Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        _ => Ok(()),
    }
}

/// The value of `Content-Length`; nothing is none. Actix-http's decoder has refused what is no number, and more than one.
fn content_length(headers: &HeaderMap) -> Result<u64, StatusCode> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(0) };
    let length = length.to_str().ok().and_then(|length| length.trim().parse().ok());
    length.ok_or(StatusCode::BAD_REQUEST)
}

/// Whether the client would go over to WebSocket (RFC 6455 §4.1), perhaps among other protocols.
fn names_websocket(headers: &HeaderMap) -> bool {
    let protocols = headers.get_all(header::UPGRADE).filter_map(|value| value.to_str().ok());
    protocols.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}
