//! Calls: requests whose answer somebody waits for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{sleep, timeout_at};

use crate::{
    Answer, Breaker, CallMetrics, Endpoint, FAILURES_TO_OPEN, Gate, Outcome, Outgoing, Post, PostError, Reservation,
    Signer, gate::Turn,
};

/// How often one call is sent at most.
const MAX_ATTEMPTS: u32 = 3;

/// Asks one application; see the crate. Clones share it.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    outgoing: Outgoing,
    to: Endpoint,
    signer: Signer,
    gate: Gate,
    /// Shared by the callers of one application.
    breaker: Arc<Breaker>,
    metrics: CallMetrics,
}

/// A call to be sent.
#[derive(Debug)]
pub struct Call<'a> {
    /// For metrics.
    pub kind: &'static str,
    /// Its id, which a repetition has, too.
    pub id: &'a str,
    /// The client for which it is: each has a part of the calls at a time. `None` if that is not known.
    pub client: Option<&'a str>,
    /// JSON.
    pub body: Bytes,
    /// Its memory, from [`Caller::reserve`].
    pub reservation: Reservation,
    /// When it fails at the latest. Waiting is included.
    pub deadline: Instant,
    /// The time that a call has from its beginning to its deadline.
    pub timeout: Duration,
    /// The header `traceparent`, if it is part of a trace.
    pub traceparent: Option<&'a str>,
}

impl Call<'_> {
    /// Until when it may wait for its turn: one that is sent later has hardly time to be answered, and would be executed in vain.
    fn start_by(&self) -> Instant {
        self.deadline.checked_sub(self.timeout / 2).unwrap_or(self.deadline)
    }
}

/// Why a call has no result. The application may have got it, unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It was not answered.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It was answered with a status other than 2xx.
    #[error("the backend answered {0}")]
    Status(StatusCode),
    /// The answer is not what was asked for.
    #[error("the answer of the backend is invalid: {0}")]
    Invalid(String),
    /// It was not sent: the last requests have failed.
    #[error("the backend did not answer the last {FAILURES_TO_OPEN} requests or more, and is not asked at present")]
    BreakerOpen,
    /// It was not sent: there is no memory for another call, or it has waited for its turn for half of its time.
    #[error("too many calls to the backend are waiting")]
    Overloaded,
}

impl CallError {
    /// Its outcome.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Post(PostError::Deadline) => Outcome::Deadline,
            Self::Post(PostError::Unreachable(_)) => Outcome::Unreachable,
            Self::Post(PostError::Broken(_)) => Outcome::Broken,
            Self::Post(PostError::TooLarge) | Self::Invalid(_) => Outcome::Invalid,
            Self::Status(_) => Outcome::Rejected,
            Self::BreakerOpen => Outcome::BreakerOpen,
            Self::Overloaded => Outcome::Overloaded,
        }
    }
}

impl Caller {
    /// A caller for the application at `to`.
    #[must_use]
    pub fn new(outgoing: Outgoing, to: Endpoint, signer: Signer, gate: Gate, metrics: CallMetrics) -> Self {
        Self(Arc::new(Inner { outgoing, to, signer, gate, breaker: Arc::default(), metrics }))
    }

    /// A caller for the same application, with the same breaker, whose calls do not wait for those of this one.
    #[must_use]
    pub fn with_gate(&self, gate: Gate) -> Self {
        let Inner { outgoing, to, signer, breaker, metrics, .. } = &*self.0;
        let (outgoing, to, signer) = (outgoing.clone(), to.clone(), signer.clone());
        Self(Arc::new(Inner { outgoing, to, signer, gate, breaker: breaker.clone(), metrics: metrics.clone() }))
    }

    /// Where it asks.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.to
    }

    /// Whether the application is not asked at present, since it did not answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.breaker.is_open()
    }

    /// Bytes of its calls, those that wait included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.gate.bytes()
    }

    /// Memory for a call of `kind` for `client` whose request takes `bytes`.
    ///
    /// # Errors
    /// [`CallError::Overloaded`]; counted.
    pub fn reserve(&self, kind: &'static str, client: &str, bytes: usize) -> Result<Reservation, CallError> {
        self.0.gate.reserve(client, bytes).ok_or_else(|| {
            self.0.metrics.begin(kind).outcome = Outcome::Overloaded;
            CallError::Overloaded
        })
    }

    /// Sends `call` when it is its turn, and has `read` make the result of an answer of status 2xx. An answer 429 or 503 with
    /// `Retry-After` is a request to repeat it; this happens within the deadline, with the same id.
    ///
    /// # Errors
    /// When there is no result. `read` returns what is wrong with an answer.
    pub async fn call<T>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(&Answer) -> Result<T, String>,
    ) -> Result<T, CallError> {
        let mut measured = self.0.metrics.begin(call.kind);
        let result = match self.answer(&call).await {
            Ok(answer) if answer.status.is_success() => read(&answer).map_err(CallError::Invalid),
            Ok(answer) => Err(CallError::Status(answer.status)),
            Err(error) => Err(error),
        };
        measured.outcome = result.as_ref().err().map_or(Outcome::Answered, CallError::outcome);
        result
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Answer, CallError> {
        let Inner { gate, breaker, .. } = &*self.0;
        // Before waiting: clients of an application that is down learn it immediately.
        if breaker.refuses(Instant::now()) {
            return Err(CallError::BreakerOpen);
        }
        let turn =
            timeout_at(call.start_by().into(), gate.enter(call.client)).await.map_err(|_| CallError::Overloaded)?;
        let start = Instant::now();
        let pass = breaker.pass(start).ok_or(CallError::BreakerOpen)?;
        let answer = self.repeat(call, turn).await;
        if answer == Err(PostError::Deadline) && start > call.start_by() {
            // It came late, for example after earlier events of its socket. That is not the application's failure.
            drop(pass);
        } else if answer.as_ref().is_ok_and(|answer| !is_gateway_error(answer.status))
            || answer == Err(PostError::TooLarge)
        {
            pass.succeeded();
        } else {
            pass.failed(Instant::now());
        }
        Ok(answer?)
    }

    /// Sends a call, and again if the application asks for it. Meanwhile it is the turn of others.
    async fn repeat(&self, call: &Call<'_>, turn: Option<Turn>) -> Result<Answer, PostError> {
        let Inner { outgoing, to, signer, metrics, gate, .. } = &*self.0;
        let mut turn = Some(turn);
        for attempt in 1.. {
            let body = call.body.clone();
            let Call { id, deadline, traceparent, .. } = *call;
            let answer = outgoing.post(Post { to, id, body, signer, deadline, traceparent }).await?;
            match retry_in(&answer).filter(|_| attempt < MAX_ATTEMPTS) {
                Some(pause) if Instant::now() + pause < call.deadline => {
                    metrics.retried(call.kind);
                    drop(turn.take());
                    sleep(pause).await;
                    // Without a turn in time, the application has answered nevertheless: its answer is what there is.
                    match timeout_at(call.deadline.into(), gate.enter(call.client)).await {
                        Ok(next) => turn = Some(next),
                        Err(_) => return Ok(answer),
                    }
                }
                _ => return Ok(answer),
            }
        }
        Err(PostError::Deadline)
    }
}

/// How a proxy in front of an application that is down answers. Other errors come from the application itself: clients may be able to
/// provoke those, and must not be able to cut off others by that.
fn is_gateway_error(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// After which time the application asks to repeat the request, if it does. At most a day, so that clocks do not overflow.
fn retry_in(answer: &Answer) -> Option<Duration> {
    let may_repeat = matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    answer.retry_after.filter(|pause| may_repeat && *pause < Duration::from_secs(86_400))
}
