//! A stream in its own hands: what a client that is sent a response without end costs, once its head is written.
//!
//! The socket comes back from actix ([`Loan`]), and [`Streaming`] writes to it what the body has, chunk by chunk
//! (RFC 9112 §7.1), each wake-up one `write`. It holds bytes only while the kernel takes no more of them, and asks
//! the body for none meanwhile: the body is a cursor, and a client that does not read costs its cursor.

use std::{
    io::Write as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::ServiceResponse,
    http::header::{self, HttpDate},
    rt::net::TcpStream,
};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{guarded::Guarded, layer::Body, lent::Loan};

/// Bytes that a client may send while it is being answered. None has a reason to send any.
const MOST_READ: usize = 64 * 1024;

/// Sends `response`, a stream, from here on without actix, if its socket can be had. What is returned is then nothing for
/// actix to write.
pub(super) fn take_over(request: &HttpRequest, response: ServiceResponse<Body>) -> ServiceResponse<Body> {
    let Some(loan) = request.conn_data::<Loan>() else { return response };
    let Some(socket) = loan.recall() else { return response };
    let (request, response) = response.into_parts();
    let out = head(&response);
    let (response, body) = response.into_parts();
    loan.go_on(Streaming { socket, body: Some(body), out, written: 0, is_writing: false, read: 0 });
    let mut nothing: HttpResponse<BoxBody> = response.set_body(BoxBody::new(()));
    nothing.headers_mut().clear();
    nothing.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    ServiceResponse::new(request, nothing.map_body(|_, body| Guarded::new(body, None)))
}

/// The status line and the fields of a chunked response whose connection ends with it.
fn head(response: &HttpResponse<Body>) -> Vec<u8> {
    let status = response.status();
    let mut head = Vec::with_capacity(512);
    // A vector takes all that is written to it.
    let _ = write!(head, "HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if !response.headers().contains_key(header::DATE) {
        let _ = write!(head, "date: {}\r\n", HttpDate::from(SystemTime::now()));
    }
    head.extend_from_slice(b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    head
}

/// Writes `chunk` as one of a chunked body.
fn frame(chunk: &[u8], out: &mut Vec<u8>) {
    // The longest size there is, and two line ends.
    out.reserve_exact(chunk.len() + 16 + 4);
    // A vector takes all that is written to it.
    let _ = write!(out, "{:X}\r\n", chunk.len());
    out.extend_from_slice(chunk);
    out.extend_from_slice(b"\r\n");
}

/// A response that is being sent.
struct Streaming {
    socket: TcpStream,
    /// Until it has ended.
    body: Option<Body>,
    /// What the kernel has not taken yet begins at `written`.
    out: Vec<u8>,
    written: usize,
    /// Whether that has begun to leave. The head waits for the first chunk: mostly they leave together.
    is_writing: bool,
    /// Bytes that the client sent meanwhile.
    read: usize,
}

impl Streaming {
    /// Whether the client has gone, or says what nobody asked it for.
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let mut bytes = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(())) => {
                    let read = buffer.filled().len();
                    self.read += read;
                    if read == 0 || self.read > MOST_READ {
                        return true;
                    }
                }
            }
        }
    }

    /// Hands all there is to the kernel; whether the client still takes it.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.is_writing = true;
        while self.written < self.out.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out[self.written..])) {
                Ok(0) | Err(_) => return Poll::Ready(false),
                Ok(written) => self.written += written,
            }
        }
        self.out.clear();
        self.written = 0;
        self.is_writing = false;
        Poll::Ready(true)
    }
}

impl Future for Streaming {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.is_gone(cx) {
            return Poll::Ready(());
        }
        loop {
            if this.is_writing && !ready!(this.poll_drained(cx)) {
                return Poll::Ready(());
            }
            let Some(body) = &mut this.body else {
                // All is written. Whether the client hears of the end is its own affair.
                let _ = ready!(Pin::new(&mut this.socket).poll_shutdown(cx));
                return Poll::Ready(());
            };
            match Pin::new(body).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Poll::Ready(Some(Ok(chunk))) => frame(&chunk, &mut this.out),
                Poll::Ready(None) => {
                    this.out.extend_from_slice(b"0\r\n\r\n");
                    this.body = None;
                }
                // Without its last chunk the client sees that the response was cut (RFC 9112 §8).
                Poll::Ready(Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => {
                    if !ready!(this.poll_drained(cx)) {
                        return Poll::Ready(());
                    }
                    // An idle stream holds no buffer.
                    this.out = Vec::new();
                    return Poll::Pending;
                }
            }
            if !ready!(this.poll_drained(cx)) {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
