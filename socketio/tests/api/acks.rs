//! Questions and answers.

use std::time::Duration;

use socketio::{AckError, SocketIo};

use crate::{join, list, start, support::eventually};

#[test]
fn asking_one_and_many() {
    let (server, io) = start(SocketIo::builder().configure(|config| config.max_pending_acks = 1));
    let results = list::<String>();
    let keep = results.clone();
    io.of("/").on("ask me", async move |socket, (), _| {
        let keep = keep.clone();
        let answer = socket.emit_with_ack::<(String, i32)>("q", &1);
        let refused = socket.emit_with_ack::<i32>("q", &2).await;
        assert!(matches!(refused, Err(AckError::TooManyPending)));
        let answer = answer.await.unwrap();
        keep.lock().unwrap().push(format!("{answer:?}"));
        let late = socket.emit_with_ack_timeout::<i32>(Duration::from_millis(5), "slow", &()).await;
        keep.lock().unwrap().push(format!("{late:?}"));
        // The handler ends with the socket; what is to see the end is spawned.
        actix_web::rt::spawn(async move {
            let gone = socket.emit_with_ack::<i32>("gone", &()).await;
            keep.lock().unwrap().push(format!("{gone:?}"));
        });
    });
    let (mut client, _) = join(&server, "40");
    client.send(r#"42["ask me"]"#);
    assert_eq!(client.text(), r#"420["q",1]"#);
    client.send(r#"430["a",1]"#);
    assert_eq!(client.text(), r#"422["slow"]"#);
    assert_eq!(client.text(), r#"423["gone"]"#);
    client.send(r#"432[1]"#);
    client.send(r#"4399[1]"#);
    drop(client);
    eventually("the answers are in", || results.lock().unwrap().len() == 3);
    assert_eq!(*results.lock().unwrap(), [r#"("a", 1)"#, "Err(Timeout)", "Err(Disconnected)"]);

    let mut clients: Vec<_> = (0..3).map(|_| join(&server, "40").0).collect();
    let asked = std::thread::spawn({
        let io = io.clone();
        move || {
            actix_web::rt::System::new().block_on(async move {
                io.of("/").timeout(Duration::from_millis(200)).emit_with_ack::<i32>("all", &()).await.unwrap()
            })
        }
    });
    let questions: Vec<_> = clients.iter_mut().map(|client| client.text()).collect();
    assert!(questions.iter().all(|question| *question == questions[0]), "{questions:?}");
    let id = questions[0].trim_start_matches("42").split('[').next().unwrap().to_owned();
    clients[0].send(&format!("43{id}[1]"));
    clients[1].send(&format!("43{id}[2]"));
    let mut responses = asked.join().unwrap();
    responses.answers.sort_unstable();
    assert_eq!((responses.answers, responses.missing), (vec![1, 2], 1));
}
