//! A span: a piece of work with a begin and an end.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use super::context::TraceContext;

/// The role of a span, by its number in OTLP (`SpanKind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work within the process.
    Internal = 1,
    /// A request of somebody else.
    Server = 2,
    /// A request to somebody else.
    Client = 3,
    /// Messages that are received from a queue.
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(u64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// A span that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub(super) context: TraceContext,
    /// The span that it is a part of; zero if it is the first of its trace.
    pub(super) parent: u64,
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Why the work failed, if it did.
    pub(super) failure: Option<String>,
}

impl Span {
    /// A span that begins now, of the trace of `under`, and a part of its span.
    pub(super) fn begin(under: TraceContext, name: &'static str, kind: SpanKind) -> Self {
        let (begin, context) = (now(), under.child());
        Self { context, parent: under.span, name, kind, begin, end: begin, attributes: Vec::new(), failure: None }
    }

    /// Its context, for what is a part of it.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    /// The work has failed. `why` is short, and the same for all failures of the same cause.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.failure = Some(why.into());
    }
}

/// Nanoseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
