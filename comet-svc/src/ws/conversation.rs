//! What a client may send, and what follows from it: no I/O, and the caller passes the time.

use std::time::Instant;

use bytes::Bytes;
use socketio::websocket::{Bucket, CloseCode, FrameError, Received, encode};

use super::{
    answer,
    close::Close,
    command::{Command, CommandError},
};

/// After this many messages that are not JSON objects the connection is closed.
const MAX_UNREADABLE: u8 = 3;

/// The state of the client's side.
#[derive(Debug)]
pub(super) struct Conversation {
    frames: Bucket,
    unreadable: u8,
}

/// What to do after a frame.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// The client has answered a ping.
    Pong,
    /// Send these bytes.
    Reply(Bytes),
    /// Run this command, and send its answer.
    Run(Command),
    /// Send a close frame, after these bytes.
    Close(Bytes, Close),
    /// The client closes: confirm it with its own code.
    Confirm(Option<CloseCode>),
}

impl Conversation {
    /// With at most `per_second` frames per second; 0 is no limit.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { frames: Bucket::new(per_second, now), unreadable: 0 }
    }

    /// What follows from a frame of the client. Every frame counts: fragments and pings cost as much as commands.
    pub(super) fn receive(&mut self, received: Result<Received, FrameError>, now: Instant) -> Step {
        let received = match received {
            Ok(received) => received,
            Err(error) => return Step::Close(Bytes::new(), Close::from(&error)),
        };
        if let Received::Close(code) = received {
            return Step::Confirm(code);
        }
        if !self.frames.take(now) {
            return Step::Close(Bytes::new(), Close::RATE);
        }
        match received {
            Received::Text(text) => self.command(&text),
            Received::Binary(_) => Step::Close(Bytes::new(), Close::BINARY),
            Received::Ping(data) => Step::Reply(encode::pong(data)),
            Received::Pong => Step::Pong,
            Received::Fragment | Received::Close(_) => Step::Nothing,
        }
    }

    fn command(&mut self, text: &str) -> Step {
        match Command::read(text) {
            Ok(command) => Step::Run(command),
            Err(CommandError { error, is_unreadable: true, .. }) => {
                self.unreadable += 1;
                let reply = encode::text(&error.to_json());
                if self.unreadable < MAX_UNREADABLE {
                    Step::Reply(reply)
                } else {
                    Step::Close(reply, Close::UNREADABLE)
                }
            }
            Err(CommandError { id, error, is_unreadable: false }) => {
                Step::Reply(answer::frame(id.as_deref(), &Err(error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(text: &str) -> Result<Received, FrameError> {
        Ok(Received::Text(text.into()))
    }

    /// What is sent, and the code with which the connection is closed.
    fn sent(step: Step) -> (String, Option<u16>) {
        let payload = |frame: Bytes| {
            let header = if frame.get(1).is_some_and(|length| *length == 126) { 4 } else { 2 };
            String::from_utf8_lossy(frame.get(header..).unwrap_or_default()).into_owned()
        };
        match step {
            Step::Reply(frame) => (payload(frame), None),
            Step::Close(frame, close) => (payload(frame), Some(close.code)),
            Step::Confirm(code) => ("confirm".to_owned(), code.map(u16::from)),
            Step::Nothing | Step::Pong | Step::Run(_) => (format!("{step:?}"), None),
        }
    }

    #[test]
    fn commands_run_and_wrong_ones_are_answered() {
        let now = Instant::now();
        let mut talk = Conversation::new(0, now);
        let good = talk.receive(text(r#"{"unsubscribe":{"channels":["a"]},"id":1}"#), now);
        assert!(matches!(good, Step::Run(Command { id: Some(_), .. })));
        for _ in 0..5 {
            let (answer, code) = sent(talk.receive(text(r#"{"subscribe":{},"id":2}"#), now));
            assert!(
                answer.starts_with(r#"{"id":2,"ok":false,"error":{"code":"bad_arguments","message":""#),
                "{answer}"
            );
            assert_eq!(code, None, "however often");
        }
    }

    #[test]
    fn the_third_unreadable_message_closes() {
        let now = Instant::now();
        let mut talk = Conversation::new(0, now);
        for expected in [None, None, Some(1008)] {
            let (answer, code) = sent(talk.receive(text("{"), now));
            assert!(answer.starts_with(r#"{"error":{"code":"bad_json","message":""#), "{answer}");
            assert_eq!(code, expected);
            assert!(
                matches!(talk.receive(Ok(Received::Fragment), now), Step::Nothing),
                "what is between does not count"
            );
        }
    }

    #[test]
    fn every_frame_counts_toward_the_rate() {
        let begin = Instant::now();
        for frame in [
            Received::Fragment,
            Received::Pong,
            Received::Ping(Bytes::new()),
            Received::Text(r#"{"unsubscribe":{"channels":["a"]}}"#.into()),
        ] {
            let mut talk = Conversation::new(5, begin);
            let mut closed = |now| sent(talk.receive(Ok(frame.clone()), now)).1;
            assert!((0..10).all(|_| closed(begin).is_none()), "a burst of two seconds");
            assert_eq!(closed(begin + Duration::from_secs(1)), None);
            assert_eq!((0..5).find_map(|_| closed(begin + Duration::from_secs(1))), Some(1008), "{frame:?}");
        }
    }

    #[test]
    fn control_frames_and_violations() {
        let now = Instant::now();
        let mut talk = Conversation::new(0, now);
        assert_eq!(sent(talk.receive(Ok(Received::Ping(Bytes::from_static(b"x"))), now)), ("x".to_owned(), None));
        assert!(matches!(talk.receive(Ok(Received::Pong), now), Step::Pong));
        assert_eq!(sent(talk.receive(Ok(Received::Binary(Bytes::new())), now)).1, Some(1003));
        assert_eq!(sent(talk.receive(Err(FrameError::TooLarge { limit: 5 }), now)).1, Some(1009));
        assert_eq!(sent(talk.receive(Err(FrameError::NotUtf8), now)).1, Some(1007));
        assert_eq!(sent(talk.receive(Err(FrameError::Protocol(String::new())), now)).1, Some(1002));
        let closed = talk.receive(Ok(Received::Close(Some(CloseCode::Normal))), now);
        assert_eq!(sent(closed), ("confirm".to_owned(), Some(1000)));
    }
}
