//! The rules of an append.

use super::{Append, Check, MediaType, Producer, StreamError, StreamState};

impl StreamState {
    /// Whether an append may be made, at `mono_ms` of the clock that does not step. The first problem in this order is reported: the stream is
    /// closed, another content type, the producer, `Stream-Seq`.
    ///
    /// # Errors
    /// The problem.
    pub fn check(&self, append: &Append, mono_ms: u64) -> Result<Check, StreamError> {
        if let Some(closing) = &self.closing {
            return match &append.producer {
                Some(producer) if closing.by.as_ref() == Some(producer) => Ok(Check::Repeated(Some(producer.seq))),
                None if append.is_closing && append.payloads.is_empty() => Ok(Check::Repeated(None)),
                _ => Err(StreamError::Closed { tail: self.tail }),
            };
        }
        if !append.payloads.is_empty() {
            self.require_type(append.content_type.as_ref())?;
        }
        if let Some(producer) = &append.producer
            && let Some(highest) = self.producers.check(producer, mono_ms)?
        {
            return Ok(Check::Repeated(Some(highest)));
        }
        match (&append.seq, &self.seq) {
            (Some(seq), Some(last)) if seq.as_bytes() <= last.as_bytes() => {
                Err(StreamError::Seq { last: last.clone() })
            }
            _ => Ok(Check::New),
        }
    }

    /// Whether messages of this content type can be appended.
    fn require_type(&self, content_type: Option<&MediaType>) -> Result<(), StreamError> {
        let is_same = content_type == Some(&self.content_type);
        if is_same { Ok(()) } else { Err(StreamError::ContentType(self.content_type.clone())) }
    }

    /// Whether messages that are published to the channel, and are JSON, can be appended.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_published(&self) -> Result<(), StreamError> {
        if self.closing.is_some() {
            return Err(StreamError::Closed { tail: self.tail });
        }
        if self.content_type.is_json() { Ok(()) } else { Err(StreamError::ContentType(self.content_type.clone())) }
    }

    /// Records the writer of an append that was checked: its producer's request, and its `Stream-Seq`.
    pub fn accept(&mut self, producer: Option<&Producer>, seq: Option<&str>, mono_ms: u64) {
        if let Some(producer) = producer {
            self.producers.accept(producer, mono_ms);
        }
        if let Some(seq) = seq {
            self.seq = Some(seq.into());
        }
        self.renew(mono_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::{
        Cursor, Payload,
        stream::{Create, Lifetime},
    };

    fn state(content_type: &str) -> StreamState {
        let create = Create {
            channel: "s".parse().unwrap(),
            content_type: content_type.parse().ok(),
            lifetime: Lifetime::Unlimited,
            is_closed: false,
            payloads: Vec::new(),
            fork: None,
            user: None,
            owner: None,
        };
        StreamState::new(&create, None, Cursor::new(1, 0), 0)
    }

    fn append(text: &str) -> Append {
        let payloads = if text.is_empty() { Vec::new() } else { vec![Payload::from_text(text)] };
        Append {
            channel: "s".parse().unwrap(),
            content_type: "text/plain".parse().ok(),
            payloads,
            seq: None,
            producer: None,
            is_closing: false,
            user: None,
        }
    }

    fn by(append: Append, seq: u64) -> Append {
        Append { producer: Some(Producer { id: "p".into(), epoch: 0, seq }), ..append }
    }

    fn closing(append: Append) -> Append {
        Append { is_closing: true, ..append }
    }

    fn with_seq(append: Append, seq: &str) -> Append {
        Append { seq: Some(seq.into()), ..append }
    }

    #[test]
    fn stream_seq_grows_byte_by_byte() {
        let mut state = state("text/plain");
        for (seq, is_greater) in
            [("09", true), ("10", true), ("10", false), ("1", false), ("2", true), ("a", true), ("B", false)]
        {
            let append = with_seq(append("x"), seq);
            let checked = state.check(&append, 0);
            assert_eq!(checked.is_ok(), is_greater, "{seq}: {checked:?}");
            if checked.is_ok() {
                state.accept(append.producer.as_ref(), append.seq.as_deref(), 0);
            }
        }
    }

    #[test]
    fn a_repetition_of_a_producer_is_recognized_before_its_stream_seq() {
        let mut state = state("text/plain");
        let first = with_seq(by(append("x"), 0), "5");
        assert_eq!(state.check(&first, 0), Ok(Check::New));
        state.accept(first.producer.as_ref(), first.seq.as_deref(), 0);
        assert_eq!(state.check(&first, 0), Ok(Check::Repeated(Some(0))));
        assert_eq!(state.check(&with_seq(by(append("x"), 1), "5"), 0), Err(StreamError::Seq { last: "5".into() }));
    }

    #[test]
    fn only_messages_have_a_content_type() {
        let state = state("application/json");
        assert_eq!(state.check(&append("x"), 0), Err(StreamError::ContentType("application/json".parse().unwrap())));
        assert_eq!(state.check(&closing(append("")), 0), Ok(Check::New));
        assert!(state.check_published().is_ok());
    }

    #[test]
    fn after_the_end_only_what_closed_it_is_repeated() {
        let mut state = state("text/plain");
        let last = closing(by(append("x"), 0));
        state.accept(last.producer.as_ref(), last.seq.as_deref(), 0);
        state.close(Cursor::new(2, 0), last.producer.clone());
        let closed = Err(StreamError::Closed { tail: Cursor::new(1, 0) });
        assert_eq!(state.check(&closing(by(append("other"), 0)), 0), Ok(Check::Repeated(Some(0))));
        assert_eq!(state.check(&closing(append("")), 0), Ok(Check::Repeated(None)));
        assert_eq!(state.check(&closing(append("x")), 0), closed);
        assert_eq!(state.check(&closing(by(append("x"), 1)), 0), closed);
        assert_eq!(state.check(&append("x"), 0), closed);
        assert_eq!(state.check_published(), Err(StreamError::Closed { tail: Cursor::new(1, 0) }));
    }
}
