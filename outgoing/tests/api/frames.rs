//! An application that speaks HTTP/2 as a test specifies, frame by frame (RFC 9113).

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// On frames of DATA and HEADERS; on those of SETTINGS and PING it is `ACK`.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` in the static table of HPACK.
const STATUS_200: u8 = 0x88;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;

/// The application's end of a connection.
pub(crate) struct Peer(TlsStream<TcpStream>);

impl Peer {
    pub(crate) async fn new(mut stream: TlsStream<TcpStream>) -> Self {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        let mut peer = Self(stream);
        peer.write(SETTINGS, 0, 0, &[]).await;
        peer
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next request, when it has ended: the number of its stream, and its body. `None` at the end of the connection.
    pub(crate) async fn request(&mut self) -> Option<(u32, String)> {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            match (head[3], head[4]) {
                (SETTINGS | PING, flags) if flags & END_STREAM == 0 => {
                    self.write(head[3], END_STREAM, 0, if head[3] == PING { &payload } else { &[] }).await;
                }
                (DATA, flags) => {
                    body.extend(payload);
                    if flags & END_STREAM != 0 {
                        return Some((stream, String::from_utf8(body).unwrap()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Answers 200 with this body.
    pub(crate) async fn answer(&mut self, stream: u32, body: &str) {
        self.write(HEADERS, END_HEADERS, stream, &[STATUS_200]).await;
        self.write(DATA, END_STREAM, stream, body.as_bytes()).await;
    }

    /// Says that nothing after the stream `last` is processed.
    pub(crate) async fn go_away(&mut self, last: u32, code: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(crate) async fn close(mut self) {
        let _ = self.0.shutdown().await;
    }
}
