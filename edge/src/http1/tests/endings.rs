//! Clients that close one side, reset the connection, or read slowly.

use std::time::Instant;

use socket2::SockRef;

use super::*;

/// Case 9.11: a client that closes its sending side gets the answer that is ready, however long.
#[actix_web::test]
async fn a_half_closed_client_gets_what_is_ready() {
    for (path, expected) in [("/huge", HUGE), ("/later", "later".len()), ("/route", "GET  0".len())] {
        let mut stage = stage([]).await;
        stage.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await.client.shutdown().await.unwrap();
        let text = stage.read_to_end().await;
        assert_eq!(text.split_once("\r\n\r\n").map(|(_, body)| body.len()), Some(expected), "{path}");
        stage.ended().await;
    }
    // Of a stream, all that it has now.
    let mut stage = stage([Say::Chunk("one"), Say::Chunk("two")]).await;
    stage.send(SCRIPT).await.client.shutdown().await.unwrap();
    assert!(stage.read_to_end().await.ends_with("3\r\none\r\n3\r\ntwo\r\n"));
    stage.ended().await;
}

/// Case 9.11: all requests that came before the end are answered, and a body that is not complete is told.
#[actix_web::test]
async fn a_half_closed_client_is_answered_in_order() {
    let mut stage = stage([]).await;
    let broken = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhi";
    stage.send(&format!("{GET}{GET}{broken}")).await.client.shutdown().await.unwrap();
    let text = stage.read_to_end().await;
    assert_eq!((text.matches("at /").count(), text.matches("HTTP/1.1 400").count()), (2, 1), "{text}");
    stage.ended().await;
}

/// Case 9.11: nothing is waited for on behalf of a client that may have left.
#[actix_web::test]
async fn a_half_closed_client_is_not_waited_for() {
    for path in ["/never", "/route?never"] {
        let mut stage = stage([]).await;
        stage.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await.client.shutdown().await.unwrap();
        assert_eq!(stage.read_to_end().await, "", "{path}");
        stage.ended().await;
    }
}

/// Case 5.7: a reset is noticed behind any number of pipelined bytes, of which few are read.
#[actix_web::test]
async fn a_reset_is_noticed_behind_pipelined_requests() {
    for path in ["/never", "/route?never"] {
        for end in ["reset", "closed"] {
            let mut stage = stage([]).await;
            let pipelined = GET.repeat(80_000 / GET.len());
            stage.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n{pipelined}")).await;
            // What arrived is looked at before the end is.
            for _ in 0..100 {
                actix_web::rt::task::yield_now().await;
            }
            if end == "reset" {
                SockRef::from(&stage.client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            let client = std::mem::replace(&mut stage.client, tokio::net::TcpStream::from_std(dead()).unwrap());
            drop(client);
            stage.ended().await;
        }
    }
}

/// Pipelined requests that were left with the kernel meanwhile are answered.
#[actix_web::test]
async fn pipelined_requests_are_all_answered() {
    let mut stage = stage([]).await;
    let count = 80_000 / GET.len();
    let (mut receiving, mut sending) = stage.client.split();
    let send = async {
        sending.write_all(GET.repeat(count).as_bytes()).await.unwrap();
        sending.shutdown().await.unwrap();
    };
    let mut text = Vec::new();
    let both = async { tokio::join!(send, receiving.read_to_end(&mut text)).1.unwrap() };
    timeout(PATIENCE, both).await.unwrap();
    assert_eq!(String::from_utf8(text).unwrap().matches("at /").count(), count);
}

/// Case 9.2: a client that takes a little now and again is never cut, and one that takes nothing is.
#[actix_web::test]
async fn a_slow_reader_is_kept_as_long_as_it_reads() {
    // The kernel lets a small window grow late: it looks again after 0.2, 0.4 and 0.8 s. A client may pause for longer than that.
    let times = ConnectionTimeouts { write: Duration::from_secs(2), ..TIMES };
    // Being cut shows nothing in an attempt in which nothing arrived for nearly as long.
    for attempt in 1.. {
        let mut stage = stage_with(times, [Say::Flood]).await;
        SockRef::from(&stage.client).set_recv_buffer_size(4 * 1024).unwrap();
        stage.send(SCRIPT).await;
        // Far longer than one that takes nothing has, at a rate at which the kernel reports room too late.
        let mut piece = [0; 2048];
        let mut longest = Duration::ZERO;
        let mut is_cut = false;
        for _ in 0..120 {
            let before = Instant::now();
            is_cut |= timeout(PATIENCE, stage.client.read_exact(&mut piece)).await.unwrap().is_err();
            tokio::time::sleep(times.write / 40).await;
            longest = longest.max(before.elapsed());
        }
        if is_cut && longest > times.write / 2 && attempt < 10 {
            continue;
        }
        assert!(!is_cut && !stage.served.is_finished(), "it was cut while it read; the longest pause was {longest:?}");
        let Stage { client, served, .. } = stage;
        timeout(PATIENCE, served).await.unwrap().unwrap();
        drop(client);
        return;
    }
}
