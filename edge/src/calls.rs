//! Calls to the application: what it is asked, and waited for.
//!
//! ```text
//! a client's request ─▶ Calls::begin ─▶ Asking::send ─▶ outgoing::Caller ─▶ the application ─▶ its answer
//! ```
//!
//! Each kind of call has a URL, or is not asked; kinds with the same URL share a circuit breaker. A failure is logged with its cause, and
//! the client gets `backend_unavailable`.

mod connect;
mod identified;
mod permission;
mod recent;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use outgoing::{
    Answer, Call, CallError, CallMetrics, Caller, Gate, GateLimits, Outgoing, PostError, Reservation, Signer, random_id,
};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use shared::throttle::Throttle;

pub use connect::{ConnectCall, Opening};
pub use identified::{ConnectAnswer, Identified};
pub use permission::PermissionCall;
use recent::Recent;

use super::{
    ApiError,
    auth::Identity,
    metrics::{Figure, Metrics},
    settings::{CallKind, CallSettings, Settings},
    traces::{SpanKind, TraceContext, Traces},
};

/// The code of an error that the application caused by not answering.
pub const BACKEND_UNAVAILABLE: &str = "backend_unavailable";
/// Memory of calls in progress, if the memory of requests has no limit.
const DEFAULT_BYTES: usize = 64 << 20;
/// How often the same failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Maximum length of its line in characters.
const MAX_LINE: usize = 300;

/// The calls of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: CallSettings,
    traces: Traces,
    /// In the order of [`CallKind::ALL`]; `None` for a kind that is not asked.
    callers: [Option<Caller>; CallKind::ALL.len()],
    failures: Counter,
    log: Mutex<Throttle>,
    /// Who clients are that poll.
    connects: Recent<ConnectAnswer>,
    /// What clients that poll may subscribe to.
    subscribes: Recent<()>,
}

/// A call that is about to be made. Its deadline has begun.
#[derive(Debug)]
pub struct Asking {
    calls: Calls,
    caller: Caller,
    kind: CallKind,
    id: String,
    client: String,
    reservation: Reservation,
    deadline: Instant,
    /// The trace that it belongs to.
    trace: Option<TraceContext>,
}

/// A call has failed: it was logged and counted. The message is for the client, and does not say where the application is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CallFailed(String);

impl From<CallFailed> for ApiError {
    fn from(failed: CallFailed) -> Self {
        Self::unavailable(BACKEND_UNAVAILABLE, failed)
    }
}

impl Calls {
    /// The calls that `settings` name, sent with `outgoing`, and traced with `traces`.
    #[must_use]
    pub fn new(settings: &Settings, outgoing: &Outgoing, metrics: &Metrics, traces: &Traces) -> Self {
        let calls = settings.backend.calls.clone();
        let figures = CallMetrics::of(&CallKind::ALL.map(CallKind::name));
        metrics.register(|registry| figures.register(registry));
        let signer = Signer::new(settings.backend.hook_secrets.clone());
        let asked = CallKind::ALL.into_iter().filter(|kind| calls.url(*kind).is_some()).count().max(1);
        let bytes = settings.receive_total.unwrap_or(DEFAULT_BYTES) / asked;
        let mut callers: [Option<Caller>; CallKind::ALL.len()] = Default::default();
        for kind in CallKind::ALL {
            let Some(url) = calls.url(kind) else { continue };
            // Of its own: clients that send many events, or slow ones, must not keep others from connecting.
            let gate = Gate::new(GateLimits { concurrency: calls.concurrency, bytes });
            let known = callers.iter().flatten().find(|caller| caller.endpoint() == url);
            callers[kind as usize] = Some(match known {
                Some(known) => known.with_gate(gate),
                None => Caller::new(outgoing.clone(), url.clone(), signer.clone(), gate, figures.clone()),
            });
        }
        let failures = metrics.refusals.backend_unavailable.clone();
        let log = Mutex::new(Throttle::new(LOG_EVERY));
        let remembered = settings.remembered_total() / 2;
        let (connects, subscribes) = (Recent::new(remembered), Recent::new(remembered));
        let traces = traces.clone();
        Self(Arc::new(Inner { settings: calls, traces, callers, failures, log, connects, subscribes }))
    }

    /// The memory of calls, and of remembered answers.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let calls: usize = self.0.callers.iter().flatten().map(Caller::bytes).sum();
        vec![
            Figure {
                name: "trident_call_answer_bytes",
                help: "Bytes of answers of the backend that are remembered for clients that poll",
                value: (self.0.connects.bytes() + self.0.subscribes.bytes()) as u64,
                is_counter: false,
            },
            Figure {
                name: "trident_call_bytes",
                help: "Bytes of calls to the backend that wait or are in progress",
                value: calls as u64,
                is_counter: false,
            },
        ]
    }

    /// The settings of calls.
    #[must_use]
    pub fn settings(&self) -> &CallSettings {
        &self.0.settings
    }

    /// Whether the application is asked about this.
    #[must_use]
    pub fn asks(&self, kind: CallKind) -> bool {
        self.0.callers[kind as usize].is_some()
    }

    /// Begins a call for `client` whose request takes about `bytes`. The calls of one client leave room for those of others. `None` if the
    /// application is not asked about this.
    ///
    /// # Errors
    /// When the calls in progress leave no memory for another.
    pub fn begin(&self, kind: CallKind, client: &Identity, bytes: usize) -> Option<Result<Asking, CallFailed>> {
        let caller = self.0.callers[kind as usize].as_ref()?;
        let client = client.to_string();
        let asking = caller.reserve(kind.name(), &client, bytes).map_err(|error| self.failed(kind, &error));
        Some(asking.map(|reservation| Asking {
            calls: self.clone(),
            caller: caller.clone(),
            kind,
            id: random_id("call"),
            client,
            reservation,
            deadline: Instant::now() + self.0.settings.timeout,
            trace: None,
        }))
    }

    fn failed(&self, kind: CallKind, error: &CallError) -> CallFailed {
        self.0.failures.inc();
        let (what, line) = lines(kind, error);
        if let Some(more) = self.0.log.lock().admit(&what) {
            log::warn!("{line}{more}");
        }
        CallFailed(match error {
            CallError::Post(PostError::Deadline) => {
                format!("the backend did not answer within {:?}; retry later", self.0.settings.timeout)
            }
            CallError::Status(_) | CallError::Invalid(_) => "the backend answered with an error".to_owned(),
            _ => "the backend is unavailable; retry later".to_owned(),
        })
    }
}

impl Asking {
    /// The id, which the request contains.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The kind, which the request contains, too.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// When it fails at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same call, as a part of the trace of a request.
    #[must_use]
    fn under(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// The same call, with a deadline that has begun before.
    #[must_use]
    fn by(self, deadline: Instant) -> Self {
        Self { deadline, ..self }
    }

    /// The call has failed, since it could not be sent by its deadline.
    #[must_use]
    pub fn late(self) -> CallFailed {
        self.calls.failed(self.kind, &PostError::Deadline.into())
    }

    /// Sends the JSON `request`, and has `read` make the result of the answer's JSON object, which is `""` if there is no body. What `read`
    /// returns as an error is logged.
    ///
    /// # Errors
    /// When there is no result.
    pub async fn send<T>(
        self,
        request: Vec<u8>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, CallFailed> {
        let Self { calls, caller, kind, id, client, reservation, deadline, trace } = self;
        let (timeout, traces) = (calls.0.settings.timeout, &calls.0.traces);
        let client = Some(&*client);
        let trace = traces.root(trace);
        let mut span = traces.begin(trace, kind.span(), SpanKind::Client);
        let header = Traces::header(trace, span.as_ref());
        let (id, body, traceparent) = (id.as_str(), request.into(), header.as_deref());
        let call = Call { kind: kind.name(), id, client, body, reservation, deadline, timeout, traceparent };

        let read = |answer: &Answer| {
            let text = std::str::from_utf8(&answer.body).map_err(|_| "it is not UTF-8".to_owned())?;
            read(object(text)?)
        };
        let result = caller.call(call, read).await;
        if let Some(span) = &mut span {
            span.set("trident.call.id", id.to_owned());
            if let Err(error) = &result {
                span.fail(error.outcome().name());
            }
        }
        traces.end(span);
        result.map_err(|error| calls.failed(kind, &error))
    }
}

/// What a failure is counted as in the log, and its line. An answer may contain what a client has sent: the line is short, and clients that
/// provoke different texts do not fill the log.
fn lines(kind: CallKind, error: &CallError) -> (String, String) {
    let what = format!("call {}: {}", kind.name(), error.outcome().name());
    let line: String = format!("call {}: {error}", kind.name()).chars().take(MAX_LINE).collect();
    (what, line)
}

/// The JSON object of an answer: `[]` is what PHP writes for an empty one. Other lists would be read as the values of its members.
fn object(text: &str) -> Result<&str, String> {
    let text = text.trim_ascii();
    let is_empty_list = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|in_it| in_it.trim_ascii().is_empty());
    match text {
        _ if is_empty_list => Ok("{}"),
        "" => Ok(""),
        _ if text.starts_with('{') => Ok(text),
        _ => Err("it is not a JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_are_one_line_of_the_log() {
        let of = |text: String| lines(CallKind::Event, &CallError::Invalid(text));
        let (one, other) = (of("invalid type: string \"ann\"".into()), of("x".repeat(10_000)));
        assert_eq!(one.0, other.0);
        assert!(one.1.contains("ann") && other.1.len() == MAX_LINE);
        assert_ne!(one.0, lines(CallKind::Connect, &CallError::Overloaded).0);
    }

    #[test]
    fn an_answer_is_an_object_and_an_empty_list_is_an_empty_one() {
        for (text, is) in [("", ""), (" \r\n", ""), (" {\"a\":1}\n", "{\"a\":1}"), ("[]", "{}"), ("[ \n]", "{}")] {
            assert_eq!(object(text).as_deref(), Ok(is), "{text:?}");
        }
        for bad in ["[null,\"ann\",[\"*\"]]", "[[\"x\"]]", "7", "no"] {
            assert!(object(bad).is_err(), "{bad}");
        }
    }
}
