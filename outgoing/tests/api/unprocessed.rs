//! Requests that an application has not processed, as it says over HTTP/2: they are sent again, and no others.

use std::time::{Duration, Instant};

use outgoing::{Outgoing, Post, PostError, Signer};
use tokio::{net::TcpListener, spawn, sync::mpsc, task::JoinHandle, time::timeout};

use crate::{
    LONG,
    frames::{INTERNAL_ERROR, NO_ERROR, Peer, REFUSED_STREAM},
    tls::acceptor,
};

struct Application {
    outgoing: Outgoing,
    url: String,
    connections: mpsc::UnboundedReceiver<Peer>,
}

impl Application {
    async fn start() -> Self {
        let (acceptor, certificate) = acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let (sender, connections) = mpsc::unbounded_channel();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = acceptor.accept(stream).await.unwrap();
                if sender.send(Peer::new(stream).await).is_err() {
                    return;
                }
            }
        });
        Self { outgoing: Outgoing::trusting(vec![certificate]), url, connections }
    }

    /// The body of the answer.
    fn posting(&self, body: &'static str) -> JoinHandle<Result<String, PostError>> {
        let (outgoing, url) = (self.outgoing.clone(), self.url.clone());
        spawn(async move {
            let (to, signer, deadline) = (url.parse().unwrap(), Signer::default(), Instant::now() + LONG);
            let post = Post { to: &to, id: body, body: body.into(), signer: &signer, deadline, traceparent: None };
            outgoing.post(post).await.map(|answer| String::from_utf8(answer.body.to_vec()).unwrap())
        })
    }

    async fn connection(&mut self) -> Peer {
        timeout(LONG, self.connections.recv()).await.expect("a connection within 20 s").unwrap()
    }

    /// Two requests that wait on one connection, by the numbers of their streams.
    async fn two(&mut self) -> (Peer, [JoinHandle<Result<String, PostError>>; 2], [u32; 2]) {
        let first = self.posting("a");
        let mut peer = self.connection().await;
        let (one, body) = peer.request().await.unwrap();
        assert_eq!(body, "a");
        let second = self.posting("b");
        let (other, body) = peer.request().await.unwrap();
        assert_eq!(body, "b");
        assert!(one < other);
        (peer, [first, second], [one, other])
    }
}

/// An application that is restarted: what it has begun it completes, and everything else goes over another connection.
#[tokio::test]
async fn requests_after_the_last_one_of_a_goaway_are_sent_again() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let mut application = Application::start().await;
        let (mut old, [first, second], [one, _]) = application.two().await;
        old.go_away(one, code).await;
        let mut new = application.connection().await;
        let (stream, body) = new.request().await.unwrap();
        assert_eq!(body, "b");
        new.answer(stream, "2").await;
        assert_eq!(second.await.unwrap().as_deref(), Ok("2"));
        // Later ones, while the old connection still has a request.
        let third = application.posting("c");
        let (stream, body) = new.request().await.unwrap();
        assert_eq!(body, "c");
        new.answer(stream, "3").await;
        assert_eq!(third.await.unwrap().as_deref(), Ok("3"));
        old.answer(one, "1").await;
        assert_eq!(first.await.unwrap().as_deref(), Ok("1"), "{code}");
        assert_eq!(old.request().await, None, "nothing else came, and the connection is closed");
    }
}

/// They may have been processed.
#[tokio::test]
async fn requests_up_to_the_last_one_of_a_goaway_are_not_sent_again() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let mut application = Application::start().await;
        let (mut old, [first, second], [_, other]) = application.two().await;
        old.go_away(other, code).await;
        old.close().await;
        for posted in [first, second] {
            let failed = posted.await.unwrap();
            assert!(matches!(failed, Err(PostError::Broken(_))), "{failed:?}");
        }
        assert!(application.connections.try_recv().is_err());
        // The next request goes over another connection.
        let next = application.posting("c");
        let mut new = application.connection().await;
        let (stream, body) = new.request().await.unwrap();
        assert_eq!(body, "c");
        new.answer(stream, "3").await;
        assert_eq!(next.await.unwrap().as_deref(), Ok("3"));
    }
}

#[tokio::test]
async fn requests_that_are_refused_are_sent_again_and_those_that_are_reset_are_not() {
    let mut application = Application::start().await;
    let (mut peer, [first, second], [one, other]) = application.two().await;
    peer.reset(one, INTERNAL_ERROR).await;
    let failed = first.await.unwrap();
    assert!(matches!(failed, Err(PostError::Broken(_))), "{failed:?}");
    peer.reset(other, REFUSED_STREAM).await;
    let (stream, body) = peer.request().await.unwrap();
    assert_eq!(body, "b");
    peer.answer(stream, "2").await;
    assert_eq!(second.await.unwrap().as_deref(), Ok("2"));
}

/// Not for ever.
#[tokio::test]
async fn an_application_that_refuses_everything_is_asked_three_times() {
    let mut application = Application::start().await;
    let posted = application.posting("a");
    let mut peer = application.connection().await;
    for _ in 0..3 {
        let (stream, _) = peer.request().await.unwrap();
        peer.reset(stream, REFUSED_STREAM).await;
    }
    let failed = posted.await.unwrap();
    assert!(matches!(failed, Err(PostError::Broken(_))), "{failed:?}");
    assert!(timeout(Duration::from_millis(50), peer.request()).await.is_err());
}
