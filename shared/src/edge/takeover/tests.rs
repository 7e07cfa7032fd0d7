//! Streams over real sockets, with bodies made for the purpose.

use std::{cell::Cell, collections::VecDeque, io, rc::Rc, time::Duration};

use actix_web::{body::BodySize, web::Bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::*;

/// What a body says, one after the other; then it waits, for good.
enum Say {
    Chunk(&'static str),
    End,
    Fail,
    /// Megabytes, until nobody takes any more.
    Flood,
}

struct Script {
    lines: VecDeque<Say>,
    said: Rc<Cell<usize>>,
    _alive: Rc<()>,
}

impl MessageBody for Script {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        match self.lines.front() {
            None => return Poll::Pending,
            Some(Say::Flood) => {
                self.said.set(self.said.get() + 1);
                return Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 64 * 1024]))));
            }
            _ => {}
        }
        match self.lines.pop_front() {
            Some(Say::Chunk(chunk)) => Poll::Ready(Some(Ok(Bytes::from_static(chunk.as_bytes())))),
            Some(Say::Fail) => Poll::Ready(Some(Err(io::Error::other("on purpose")))),
            _ => Poll::Ready(None),
        }
    }
}

struct Stage {
    client: TcpStream,
    stream: Streaming,
    said: Rc<Cell<usize>>,
    alive: Rc<()>,
}

async fn stage(lines: impl IntoIterator<Item = Say>) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let (said, alive) = (Rc::new(Cell::new(0)), Rc::new(()));
    let script = Script { lines: lines.into_iter().collect(), said: said.clone(), _alive: alive.clone() };
    let body = Guarded::new(BoxBody::new(script), None);
    let head = b"HEAD\r\n\r\n".to_vec();
    let stream = Streaming { socket, body: Some(body), out: head, written: 0, is_writing: false, read: 0 };
    Stage { client, stream, said, alive }
}

/// What a client reads until the end, while the stream goes on.
async fn heard(stage: Stage) -> String {
    let Stage { mut client, stream, .. } = stage;
    let mut text = String::new();
    let (_, read) = tokio::join!(stream, client.read_to_string(&mut text));
    read.unwrap();
    text
}

#[actix_web::test]
async fn chunks_come_behind_the_head_and_the_last_one_says_so() {
    let lines = [Say::Chunk("hello"), Say::Chunk(""), Say::Chunk("0123456789abcdef"), Say::End];
    assert_eq!(heard(stage(lines).await).await, "HEAD\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
    assert_eq!(heard(stage([Say::End]).await).await, "HEAD\r\n\r\n0\r\n\r\n");
}

#[actix_web::test]
async fn a_body_that_fails_is_cut_where_a_client_sees_it() {
    assert_eq!(heard(stage([Say::Chunk("a"), Say::Fail]).await).await, "HEAD\r\n\r\n1\r\na\r\n");
}

#[actix_web::test]
async fn an_idle_stream_has_sent_its_head_and_holds_no_buffer() {
    let Stage { mut client, mut stream, .. } = stage([]).await;
    assert!(timeout(Duration::from_millis(50), &mut stream).await.is_err());
    let mut head = [0; 8];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!((&head, stream.out.capacity()), (b"HEAD\r\n\r\n", 0));
}

#[actix_web::test]
async fn a_client_that_goes_ends_the_stream() {
    let Stage { client, stream, alive, .. } = stage([]).await;
    drop(client);
    timeout(Duration::from_secs(10), stream).await.unwrap();
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[actix_web::test]
async fn a_client_that_talks_on_is_not_listened_to_for_ever() {
    let Stage { mut client, stream, .. } = stage([]).await;
    let talk = async { while client.write_all(&[b'x'; 4096]).await.is_ok() {} };
    let (ended, ()) = tokio::join!(timeout(Duration::from_secs(10), stream), talk);
    ended.unwrap();
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_not_written_to_without_end() {
    let Stage { client, mut stream, said, .. } = stage([Say::Flood]).await;
    let mut last = usize::MAX;
    // Until a while goes by in which the kernel takes nothing.
    while last != said.get() {
        last = said.get();
        assert!(timeout(Duration::from_millis(200), &mut stream).await.is_err());
    }
    assert!(last > 0 && stream.out.len() < 2 * 64 * 1024, "{last} chunks, {} bytes", stream.out.len());
    drop(client);
    timeout(Duration::from_secs(10), stream).await.unwrap();
}

#[test]
fn a_head_is_that_of_a_chunked_response_on_its_last_connection() {
    let response: HttpResponse<Body> = HttpResponse::Ok()
        .insert_header(("x-test", "1"))
        .insert_header((header::DATE, "then"))
        .finish()
        .map_body(|_, body| Guarded::new(body, None));
    let expected =
        ["HTTP/1.1 200 OK", "connection: close", "date: then", "transfer-encoding: chunked", "x-test: 1", "", ""];
    let text = String::from_utf8(head(&response)).unwrap();
    let mut lines: Vec<&str> = text.split("\r\n").collect();
    lines[1..5].sort_unstable();
    assert_eq!(lines, expected);
}
