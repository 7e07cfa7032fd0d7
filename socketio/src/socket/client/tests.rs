//! What a client may say when, line by line.

use super::*;

fn config() -> ClientConfig {
    ClientConfig {
        connect_timeout: Duration::from_secs(45),
        binary_timeout: Duration::from_secs(10),
        max_namespaces: 3,
        msgpack: true,
        limits: Limits::default(),
    }
}

fn say(client: &mut Client, text: &str) -> Result<Option<Input>, DisconnectReason> {
    client.on_message(Data::from(text.to_owned()), Instant::now())
}

/// A client that is in the namespace `/`.
fn joined() -> Client {
    let mut client = Client::new(config().into(), Instant::now());
    assert!(matches!(say(&mut client, "0"), Ok(Some(Input::Connect { .. }))));
    assert!(client.joined(&"/".into()));
    client
}

#[test]
fn what_closes_the_connection() {
    use DisconnectReason::{ForcedServerClose as Order, ParseError as Parse};
    let fresh = || Client::new(config().into(), Instant::now());
    for (mut client, text, expected) in [
        (fresh(), "2[\"a\"]", Order),
        (fresh(), "1", Order),
        (fresh(), "30[]", Order),
        (fresh(), "4{}", Order),
        (fresh(), "abc", Parse),
        (fresh(), "", Parse),
        (joined(), "0", Order),
        (joined(), "2{}", Parse),
        (joined(), "2[]", Parse),
        (joined(), "2abc[\"a\"]", Parse),
        (joined(), "2[\"a\"", Parse),
        (joined(), "9", Parse),
        (joined(), "511-[\"a\"]", Parse),
        (joined(), "50-", Parse),
        (joined(), "4{}", Order),
        (joined(), "2/other,[\"a\"]", Order),
        (joined(), "2[\"connect\"]", Parse),
        (joined(), "2[\"disconnecting\"]", Parse),
    ] {
        assert_eq!(say(&mut client, text), Err(expected), "{text}");
    }
}

#[test]
fn stray_and_missing_attachments() {
    let binary = || Data::Binary(bytes::Bytes::from_static(b"x"));
    assert_eq!(joined().on_message(binary(), Instant::now()), Err(DisconnectReason::ParseError));
    let mut client = joined();
    assert_eq!(say(&mut client, r#"51-["a",{"_placeholder":true,"num":0}]"#), Ok(None));
    assert_eq!(say(&mut client, "2[\"b\"]"), Err(DisconnectReason::ParseError));
}

#[test]
fn an_event_after_the_last_disconnect_closes_the_connection() {
    let mut client = joined();
    assert_eq!(say(&mut client, "1"), Ok(Some(Input::Disconnect { nsp: "/".into() })));
    assert_eq!(say(&mut client, "2[\"a\"]"), Err(DisconnectReason::ForcedServerClose));
}

#[test]
fn a_namespace_can_be_left_and_joined_again() {
    let mut client = joined();
    assert!(matches!(say(&mut client, "0/x"), Ok(Some(Input::Connect { .. }))));
    assert!(client.joined(&"/x".into()));
    assert!(matches!(say(&mut client, "1/x,"), Ok(Some(Input::Disconnect { .. }))));
    assert!(matches!(say(&mut client, "2[\"a\"]"), Ok(Some(Input::Event { .. }))));
    assert!(matches!(say(&mut client, "0/x,"), Ok(Some(Input::Connect { .. }))));
}

#[test]
fn packets_in_flight_when_the_server_removes_a_socket_are_ignored() {
    let mut client = joined();
    client.removed(&"/".into());
    for late in ["2[\"a\"]", "30[]"] {
        assert_eq!(say(&mut client, late), Ok(None), "{late}");
    }
    assert!(matches!(say(&mut client, "0"), Ok(Some(Input::Connect { .. }))));
}

#[test]
fn packets_before_the_connect_answer_close_the_connection() {
    for (text, expected) in [
        ("2[\"a\"]", DisconnectReason::ForcedServerClose),
        ("0", DisconnectReason::ForcedServerClose),
        ("1", DisconnectReason::ForcedServerClose),
    ] {
        let mut client = Client::new(config().into(), Instant::now());
        assert!(say(&mut client, "0").is_ok());
        assert_eq!(say(&mut client, text), Err(expected), "{text}");
    }
    let mut client = Client::new(config().into(), Instant::now());
    assert!(say(&mut client, "0").is_ok());
    client.refused(&"/".into());
    assert!(!client.joined(&"/".into()));
    assert!(say(&mut client, "0").is_ok());
}

#[test]
fn names_with_a_query_are_the_names_without() {
    let mut client = Client::new(config().into(), Instant::now());
    assert_eq!(say(&mut client, "0/x?token=a,"), Ok(Some(Input::Connect { nsp: "/x?token=a".into(), auth: None })));
    assert!(client.joined(&"/x".into()));
    assert_eq!(say(&mut client, "0/x?token=b,"), Err(DisconnectReason::ForcedServerClose));
}

#[test]
fn namespaces_are_bounded() {
    let mut client = joined();
    for name in ["0/a,", "0/b,"] {
        assert!(say(&mut client, name).is_ok());
    }
    assert_eq!(say(&mut client, "0/c,"), Err(DisconnectReason::ForcedServerClose));
}

#[test]
fn a_connection_without_namespace_expires() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut client = Client::new(config().into(), start);
    assert_eq!(client.deadline(), Some(at(45)));
    assert_eq!(client.on_deadline(at(44)), None);
    assert_eq!(client.on_deadline(at(45)), Some(Overdue::Connect));
    assert_eq!(client.deadline(), None);

    let mut client = Client::new(config().into(), start);
    assert!(client.on_message("0".into(), at(1)).is_ok());
    // Asking is not joining.
    assert_eq!(client.deadline(), Some(at(45)));
    client.joined(&"/".into());
    assert_eq!(client.deadline(), None);

    let text = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(client.on_message(text.into(), at(2)), Ok(None));
    assert_eq!(client.deadline(), Some(at(12)));
    // An attachment does not buy time for the next.
    assert_eq!(client.on_message(Data::Binary(bytes::Bytes::new()), at(5)), Ok(None));
    assert_eq!(client.deadline(), Some(at(12)));
    assert_eq!(client.on_deadline(at(12)), Some(Overdue::Binary));
    assert!(matches!(client.on_message(Data::Binary(bytes::Bytes::new()), at(13)), Ok(Some(Input::Event { .. }))));
    assert_eq!(client.deadline(), None);
}

#[test]
fn msgpack_is_known_by_the_first_packet() {
    let connect = msgpack::encode(&Packet::new(Kind::Connect, "/".into()));
    let mut client = Client::new(config().into(), Instant::now());
    assert!(client.on_message(Data::Binary(connect.clone()), Instant::now()).is_ok());
    assert_eq!(client.form(), Form::Msgpack);
    assert_eq!(say(&mut client, "0/x,"), Err(DisconnectReason::ParseError));

    let mut plain = Client::new(ClientConfig { msgpack: false, ..config() }.into(), Instant::now());
    assert_eq!(plain.on_message(Data::Binary(connect.clone()), Instant::now()), Err(DisconnectReason::ParseError));
    assert_eq!(joined().on_message(Data::Binary(connect), Instant::now()), Err(DisconnectReason::ParseError));
}
