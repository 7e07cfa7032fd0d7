//! What a graceful shutdown completes, and when it closes what.

use std::{
    io::{Read as _, Write as _},
    sync::atomic::AtomicUsize,
};

use super::*;

#[actix_web::test]
async fn an_ordered_stop_ends_streams_and_finishes_answers() {
    let (running, gate) = serve(&[]);
    let edge = running.edge().clone();
    let (mut stream, mut slow, mut idle) =
        (Client::new(&running).await, Client::new(&running).await, Client::new(&running).await);
    stream.send(&get("/stream")).await.read_to("line\n").await;
    slow.send(&get("/slow")).await;
    idle.send(&get("/healthz")).await.read_to("ok\"}").await;
    until("both requests", || edge.drain.in_flight() == 2).await;
    edge.drain.on_begin(move || gate.open());

    let address = running.address();
    let begun = Instant::now();
    running.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(stream.read_to_end().await.ends_with("4\r\nend\n\r\n0\r\n\r\n"), "ended, not cut");
    let answer = slow.read_to_end().await;
    assert!(answer.ends_with("at last") && answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(idle.read_to_end().await, "");
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    assert_eq!(edge.drain.in_flight(), 0);
    assert!(!edge.readiness.is_ready());
}

/// Case 8.10: connections are kept until their clients use them no more, and what is queued at the port is served.
#[actix_web::test]
async fn a_shutdown_loses_no_request() {
    for workers in ["1", "2"] {
        let (running, _) = serve(&["--workers", workers]);
        let address = running.address();
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> =
            (0..16).map(|n| tokio::spawn(ask_again_and_again(address, n * n, answered.clone()))).collect();
        until("requests", || answered.load(SeqCst) > 100).await;
        soon("the stop", running.stop()).await;
        for client in clients {
            soon("the end of a client", client).await.unwrap();
        }
    }
}

/// Sends requests, with a pause of this many milliseconds, until the port is closed. Each has to be answered; a response that asks for it ends its connection.
async fn ask_again_and_again(address: SocketAddr, pause: u64, answered: Arc<AtomicUsize>) {
    while let Ok(socket) = TcpStream::connect(address).await {
        let mut client = Client(socket);
        loop {
            let answer = client.send(&get("/healthz")).await.read_to("ok\"}").await;
            answered.fetch_add(1, SeqCst);
            if answer.to_lowercase().contains("connection: close") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// More than the runtime accepts at a time, and the worker is busy until the port is to be closed.
#[actix_web::test]
async fn what_is_queued_at_the_port_is_served() {
    let (running, gate) = serve(&[]);
    let (address, edge) = (running.address(), running.edge().clone());
    Client::new(&running).await.send(&get("/busy")).await;
    until("the worker to be busy", || edge.drain.in_flight() == 1).await;
    let queued: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    edge.drain.on_begin(move || gate.open());
    let answers = tokio::task::spawn_blocking(move || {
        for mut socket in queued {
            let mut answer = String::new();
            socket.write_all(get("/healthz").as_bytes()).unwrap();
            socket.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    });
    soon("the stop", running.stop()).await;
    answers.await.unwrap();
}

#[actix_web::test]
async fn the_port_closes_while_requests_continue() {
    let (running, _) = serve(&[]);
    let (edge, address) = (running.edge().clone(), running.address());
    let work = edge.drain.work();
    let mut stop = std::pin::pin!(running.stop());
    tokio::select! {
        () = &mut stop => panic!("it waits for the work"),
        () = soon("the closed port", edge.drain.port_closed()) => {}
    }
    assert!(TcpStream::connect(address).await.is_err());
    drop(work);
    soon("the stop", stop).await;
}

#[actix_web::test]
async fn an_endless_response_is_cut_at_the_stop() {
    let (running, _) = serve(&[]);
    let edge = running.edge().clone();
    let mut client = Client::new(&running).await;
    client.send(&get("/for-ever")).await.read_to("\r\n\r\n").await;
    until("the request", || edge.drain.in_flight() == 1).await;
    soon("the stop", running.stop()).await;
    client.read_to_end().await;
}

#[actix_web::test]
async fn while_draining_every_answer_asks_to_close() {
    let (running, _) = serve(&[]);
    let mut client = Client::new(&running).await;
    let answer = client.send(&get("/healthz")).await.read_to("ok\"}").await;
    assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
    running.edge().readiness.not_ready("draining", "the process is shutting down");
    running.edge().drain.begin();
    let answer = client.send(&get("/readyz")).await.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.to_lowercase().contains("connection: close"), "{answer}");
    assert!(answer.contains(r#""code":"draining""#), "{answer}");
    running.kill().await;
}

/// Also at the end of the runtime.
#[test]
fn a_thread_that_does_not_end_does_not_keep_the_process() {
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let (running, _gate) = serve(&[]);
            let edge = running.edge().clone();
            Client::new(&running).await.send(&get("/busy")).await;
            until("the worker to be busy", || edge.drain.in_flight() == 1).await;
            running.stop().await;
        });
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(PATIENCE).expect("it ends although a worker is busy for ever");
}
