//! The list of what closes a connection, and of what does not although it looks as if it should.

use crate::raw::Message;
use crate::server::start;

/// In place of a packet: these bytes as a binary message.
const BUFFER: &str = "<bytes>";

#[test]
fn these_close_the_connection() {
    let server = start();
    for messages in [
        // No packet of Engine.IO
        &["7"][..],
        &["x42[\"echo\"]"],
        &[" 42[\"echo\"]"],
        &[""],
        // No packet of Socket.IO
        &["4"],
        &["49"],
        &["47[\"echo\"]"],
        &["4x"],
        // A second CONNECT to a namespace that has been joined
        &["40"],
        &["40{\"token\":1}"],
        // Events without a name
        &["42"],
        &["42{}"],
        &["42[]"],
        &["42null"],
        &["42\"echo\""],
        &["42[null]"],
        &["42[{}]"],
        &["42[[\"echo\"]]"],
        &["42abc[\"echo\"]"],
        &["42[\"echo\""],
        &["42[\"echo\"]]"],
        &["42[\"echo\",]"],
        &["42[\"echo\"] x"],
        // Names that are taken
        &["42[\"connect\"]"],
        &["42[\"connect_error\",1]"],
        &["42[\"disconnect\"]"],
        &["42[\"disconnecting\"]"],
        &["42[\"newListener\"]"],
        &["42[\"removeListener\"]"],
        &["42[\"\\u0063onnect\"]"],
        // Data where none belongs
        &["41{}"],
        &["40/admin,[]"],
        &["40/admin,null"],
        &["40/admin,\"token\""],
        &["43{}"],
        &["431\"x\""],
        // A namespace that was not joined
        &["42/admin,[\"echo\"]"],
        &["43/admin,1[]"],
        // Attachments
        &["450-[\"echo\"]"],
        &["45-[\"echo\"]"],
        &["45[\"echo\"]"],
        &["45x-[\"echo\"]"],
        &["451.5-[\"echo\"]"],
        &["4511-[\"echo\"]"],
        &["4599999999999999999999-[\"echo\"]"],
        &["451-[\"connect\"]", BUFFER],
        &["451-{}", BUFFER],
        &["451-[\"echo\",{\"_placeholder\":true,\"num\":1}]", BUFFER],
        &["451-[\"echo\",{\"_placeholder\":true,\"num\":-1}]", BUFFER],
        &["451-[\"echo\",{\"_placeholder\":true,\"num\":\"0\"}]", BUFFER],
        &["451-[\"echo\",{\"_placeholder\":true}]", BUFFER],
        &["451-[\"echo\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]", BUFFER],
        &["460-1[]"],
        // Text while attachments are due
        &["451-[\"echo\",{\"_placeholder\":true,\"num\":0}]", "42[\"echo\"]"],
        &["452-[\"echo\"]", BUFFER, "42[\"echo\"]"],
        // An attachment of nothing
        &[BUFFER],
        &["451-[\"echo\"]", BUFFER, BUFFER],
    ] {
        let mut socket = server.joined();
        for &message in messages {
            match message {
                BUFFER => socket.binary(b"bytes"),
                text => socket.text(text),
            }
        }
        socket.expect_end();
        let end = server.end();
        let expected = match messages {
            // What is well said, but out of order, is answered by the server's will.
            &["40"] | &["40{\"token\":1}"] | &["42/admin,[\"echo\"]"] | &["43/admin,1[]"] => "/ forced server close",
            _ => "/ parse error",
        };
        assert_eq!(end, expected, "{messages:?}");
    }
}

#[test]
fn anything_but_connect_first() {
    let server = start();
    for message in ["42[\"echo\"]", "41", "43[]", "44{}", "45", "4", "42/admin,[\"echo\"]"] {
        let mut socket = server.websocket();
        socket.text(message);
        assert_eq!(socket.expect_end(), Vec::<String>::new(), "{message}");
    }
    let mut socket = server.websocket();
    socket.binary(b"bytes");
    assert_eq!(socket.expect_end(), Vec::<String>::new());
    let mut socket = server.websocket();
    socket.text("451-[\"echo\"]");
    socket.binary(b"bytes");
    assert_eq!(socket.expect_end(), Vec::<String>::new());
}

#[test]
fn these_do_not() {
    let server = start();
    for (message, answer) in [
        ("42[\"echo\"]", "42[\"echo\"]"),
        ("42[1,2]", "42[\"one\",2]"),
        ("42[ \"echo\" , 1 ] ", "42[\"echo\",1]"),
        ("42[\"echo\",{\"_placeholder\":true,\"num\":5}]", "42[\"echo\",{\"_placeholder\":true,\"num\":5}]"),
        ("42[\"\\u0065cho\",\"\\u00e9\"]", "42[\"echo\",\"é\"]"),
        ("427[\"echo\",1]", "437[1]"),
        ("42007[\"echo\"]", "437[]"),
        ("420[\"echo\",null]", "430[null]"),
        ("42[\"nobody listens\"]", ""),
        ("425[\"nobody listens\"]", ""),
        // Acknowledgements of nothing
        ("43999[\"x\"]", ""),
        ("43999[]", ""),
        // Numbers as they are
        ("42[\"echo\",9007199254740993,0.1,-1e-7,1.5e+300]", "42[\"echo\",9007199254740993,0.1,-1e-7,1.5e+300]"),
    ] {
        let mut socket = server.joined();
        socket.text(message);
        if !answer.is_empty() {
            socket.expect(answer);
        }
        socket.text("42[\"echo\",\"still there\"]");
        socket.expect("42[\"echo\",\"still there\"]");
        drop(socket);
        assert_eq!(server.end(), "/ transport close");
    }
}

/// Case 3.3: an event of any depth costs its handler at most, and the connection stays; what is read here is bounded.
#[test]
fn deeply_nested_events_are_answered() {
    let server = start();
    let mut socket = server.joined();
    for depth in [2_000, 300_000] {
        socket.text(&format!("42[\"echo\",{}{}]", "[".repeat(depth), "]".repeat(depth)));
    }
    // Beside attachments too, and whatever else only a reader of the data minds.
    for data in [&*format!("{}{}", "[".repeat(300_000), "]".repeat(300_000)), "1e400", r#""\ud83d""#] {
        socket.text(&format!(r#"451-1["echo",{{"_placeholder":true,"num":0}},{data}]"#));
        socket.binary(b"zero");
        let answer = socket.next_text();
        assert!(answer.starts_with(r#"431[{"ok":false,"error":{"code":"bad_arguments""#), "{answer}");
    }
    let event = format!("42[\"echo\",{}{}]", "[".repeat(100), "]".repeat(100));
    socket.text(&event);
    socket.expect(&event);
    socket.text(&format!("40/other,{}1{}", "{\"a\":".repeat(2_000), "}".repeat(2_000)));
    socket.expect_end();
    assert_eq!(server.end(), "/ parse error");
}

#[test]
fn buffers_round_trip() {
    let server = start();
    let mut socket = server.joined();
    socket.text("452-7[\"echo\",{\"_placeholder\":true,\"num\":1},[{\"_placeholder\":true,\"num\":0}],\"é\"]");
    socket.binary(b"zero");
    socket.binary(b"");
    socket.expect("462-7[{\"_placeholder\":true,\"num\":0},[{\"_placeholder\":true,\"num\":1}],\"é\"]");
    assert_eq!(socket.next(), Message::Binary(vec![]));
    assert_eq!(socket.next(), Message::Binary(b"zero".to_vec()));
    // Ten are as many as may be.
    socket.text(&format!(
        "4510-[\"echo\",{}]",
        (0..10).map(|n| format!("{{\"_placeholder\":true,\"num\":{n}}}")).collect::<Vec<_>>().join(",")
    ));
    for n in 0..10 {
        socket.binary(&[n]);
    }
    assert!(socket.next_text().starts_with("4510-[\"echo\","));
    for n in 0..10 {
        assert_eq!(socket.next(), Message::Binary(vec![n]));
    }
    // base64 in place of a binary message, as clients without binary send it.
    socket.text("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    socket.text("bAQID");
    socket.expect("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(socket.next(), Message::Binary(vec![1, 2, 3]));
}

#[test]
fn attachments_that_never_come() {
    let server = crate::server::start_with(|config| config.binary_timeout = std::time::Duration::from_millis(100));
    let mut socket = server.joined();
    socket.text("452-[\"echo\"]");
    socket.binary(b"one");
    socket.expect_end();
    server.end();
}
