//! Decodes the bytes of a connection (RFC 9112), and nothing else does. No I/O.
//!
//! ```text
//! inbox ─▶ read_head: skip empty lines, find the end, check the size ─▶ actix-http's decoder ─▶ target, Host, Upgrade, framing
//!       └▶ read_body: Content-Length | chunks (strict) | a tunnel, until its end
//! ```
//!
//! Each complete head is passed to actix-http's decoder alone, so that it can neither read beyond it nor get more than it can handle.
//! Everything that decides about the rest of the connection is then made unambiguous in the decoded request itself: the authority of an
//! absolute target replaces `Host`, and `Upgrade` is present exactly if the connection can become a WebSocket. Whoever handles the request
//! uses these and never the bytes.

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

/// Maximum size of a head in bytes. A hundred and twenty-eight channels with the longest names fit.
pub const MAX_HEAD: usize = 64 * 1024;

/// The requests of one connection, alternating between head and body.
#[derive(Debug)]
pub struct Decoder {
    config: ServiceConfig,
    /// This many bytes of the inbox contain no end of a head. They are not searched again when more bytes arrive.
    searched: usize,
    body: Body,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// As actix-http decoded it, without a payload.
    pub request: Request,
    /// Whether the client wants to keep the connection open, and the message has an end.
    pub keeps_alive: bool,
    /// The client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether a body follows.
    pub has_body: bool,
}

/// The next part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Some bytes, at least one.
    Data(Bytes),
    /// The end.
    End,
}

/// A body with invalid framing. Its end is unknown, and so is the beginning of another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has invalid framing")]
pub struct BrokenBody;

/// How the body of a request is delimited (RFC 9112 §6.3).
#[derive(Debug, Default)]
enum Body {
    #[default]
    Done,
    /// The number of remaining bytes.
    Length(u64),
    Chunked(Chunked),
    /// Whatever comes is the body: the connection is a WebSocket, or would have been.
    Tunnel,
    Broken,
}

impl Decoder {
    /// A decoder for a new connection.
    #[must_use]
    pub fn new(config: ServiceConfig) -> Self {
        Self { config, searched: 0, body: Body::Done }
    }

    /// A decoder for a connection that is a tunnel already.
    #[must_use]
    pub fn tunnel(config: ServiceConfig) -> Self {
        Self { body: Body::Tunnel, ..Self::new(config) }
    }

    /// As [`new`](Self::new), without a server and a runtime: for tests and fuzzing.
    #[must_use]
    pub fn detached() -> Self {
        thread_local! {
            // Actix-http's configuration starts a timer, so it has to be created within a runtime.
            static CONFIG: ServiceConfig = rt::System::new().block_on(async { ServiceConfig::default() });
        }
        Self::new(CONFIG.with(ServiceConfig::clone))
    }

    /// Whether `inbox` contains the beginning of a head. Preceding empty lines do not count (RFC 9112 §2.2).
    #[must_use]
    pub fn has_begun(inbox: &[u8]) -> bool {
        !matches!(inbox, [] | [b'\r'])
    }

    /// Takes the next head out of `inbox`, if it is complete. Call it when the previous body has ended.
    ///
    /// # Errors
    /// The status with which to reject the connection.
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
                // RFC 9112 §3: a request line that is too long has its own status.
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
        // A codec for each head: it keeps no state from one to the next.
        let decoded = h1::Codec::new(self.config.clone()).decode(&mut bytes);
        match decoded {
            Ok(Some(h1::Message::Item(request))) if bytes.is_empty() => self.accept(request).map(Some),
            Err(ParseError::TooLarge) => Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    }

    /// Checks what actix-http's decoder does not, and determines the framing of the body.
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
            // RFC 9110 §7.8: ignored in HTTP/1.0, and allowed in any other request.
            head.headers.remove(header::UPGRADE);
        }
        self.body = if is_upgrade {
            Body::Tunnel
        } else if is_chunked {
            // Actix-http's decoder accepts only `chunked`, only in HTTP/1.1, and not together with a length.
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

    /// Takes the next received part of the body out of `inbox`; `None` if more bytes are needed.
    ///
    /// # Errors
    /// When the chunks violate RFC 9112 §7.1; the error is permanent.
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

    /// Whether the body has been read completely, so that a head may follow.
    #[must_use]
    pub fn is_body_done(&self) -> bool {
        matches!(self.body, Body::Done)
    }

    /// Whether the body ends only with the connection.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        matches!(self.body, Body::Tunnel)
    }

    /// The number of remaining bytes of the body, if it is known.
    #[must_use]
    pub fn body_left(&self) -> Option<u64> {
        match self.body {
            Body::Done => Some(0),
            Body::Length(left) => Some(left),
            Body::Chunked(_) | Body::Tunnel | Body::Broken => None,
        }
    }

    /// The whole body, if it has a length and `inbox` contains all of it, where it stays.
    #[must_use]
    pub fn whole_body<'b>(&self, inbox: &'b [u8]) -> Option<&'b [u8]> {
        inbox.get(..usize::try_from(self.body_left()?).ok()?)
    }

    /// Skips the body that [`whole_body`](Self::whole_body) returned.
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

/// The length of the head at the beginning of `bytes`, including its empty line; none ends within the first `searched` bytes. A line may
/// end with a bare LF (RFC 9112 §2.2).
fn head_length(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(2);
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| match &bytes[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// A later minor version is treated as 1.1 (RFC 9110 §6.2); other major versions are unknown.
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

/// The value of `Content-Length`, if present. Actix-http's decoder has rejected invalid and repeated ones.
fn content_length(headers: &HeaderMap) -> Result<u64, StatusCode> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(0) };
    let length = length.to_str().ok().and_then(|length| length.trim().parse().ok());
    length.ok_or(StatusCode::BAD_REQUEST)
}

/// Whether the client offers to upgrade to WebSocket (RFC 6455 §4.1), possibly among other protocols.
fn names_websocket(headers: &HeaderMap) -> bool {
    let protocols = headers.get_all(header::UPGRADE).filter_map(|value| value.to_str().ok());
    protocols.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}
