//! Traces for OpenTelemetry: where the time of a publication and of a call goes.
//!
//! ```text
//! publish (traceparent of the request, or some of all) ─┬─▶ call publish ─▶ the backend, with traceparent
//!                                                       ├─▶ log: until the bus has it
//!                                                       └─▶ deliver, for each transport: until the last client was sent it
//! call connect, subscribe, event; webhook (some of all) ──▶ the backend, with traceparent
//! ```
//!
//! Spans are sent to a collector as OTLP/JSON, once a second, by the client of calls. Without `TRIDENT_TRACES_URL` there are none, and nothing is counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use actix_web::http::header::HeaderMap;
use outgoing::{Outgoing, Post, Signer, random_id};
use parking_lot::Mutex;
use shared::throttle::Throttle;

mod context;
pub mod deliveries;
mod otlp;
mod span;

pub use context::TraceContext;
use deliveries::{Deliveries, Expected};
pub use span::{Span, SpanKind, Value};

use super::{
    drain::Drain,
    metrics::{Figure, Metrics},
    settings::{ServiceDefaults, TraceSettings},
};

/// How often spans are sent.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of spans that wait, and of a request.
const MAX_WAITING: usize = 4_096;
const MAX_SENT: usize = 512;
/// How long the collector may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often the same failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// How often a request is sent that the collector did not accept but may accept later.
const MAX_ATTEMPTS: u32 = 3;

/// The traces of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    settings: TraceSettings,
    process: Vec<(&'static str, Value)>,
    deliveries: Deliveries,
    waiting: Mutex<VecDeque<Span>>,
    /// Held while spans are being sent.
    sending: tokio::sync::Mutex<()>,
    sent: AtomicU64,
    lost: AtomicU64,
    log: Mutex<Throttle>,
}

impl Traces {
    /// The traces of a process with these settings; none without a URL.
    #[must_use]
    pub fn new(settings: &TraceSettings, service: &ServiceDefaults, metrics: &Metrics) -> Self {
        if settings.url.is_none() {
            return Self(None);
        }
        let process = vec![
            ("service.namespace", "trident".into()),
            ("service.name", service.name.into()),
            ("service.version", service.version.into()),
            ("service.instance.id", random_id("process").into()),
        ];
        Self(Some(Arc::new(Inner {
            settings: settings.clone(),
            process,
            deliveries: metrics.deliveries().clone(),
            waiting: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            log: Mutex::new(Throttle::new(LOG_EVERY)),
        })))
    }

    /// The trace that a request belongs to.
    #[must_use]
    pub fn parent(&self, headers: &HeaderMap) -> Option<TraceContext> {
        self.0.as_ref().and_then(|_| TraceContext::of(headers))
    }

    /// The trace of work that begins: that of its request, or a new one for some of all.
    #[must_use]
    pub fn root(&self, parent: Option<TraceContext>) -> Option<TraceContext> {
        let inner = self.0.as_ref()?;
        parent.or_else(|| (rand::random::<f64>() < inner.settings.sample).then(TraceContext::new))
    }

    /// A span that begins now, as a part of `under`; `None` if the trace is not recorded.
    #[must_use]
    pub fn begin(&self, under: Option<TraceContext>, name: &'static str, kind: SpanKind) -> Option<Span> {
        self.0.as_ref()?;
        under.filter(|under| under.is_sampled).map(|under| Span::begin(under, name, kind))
    }

    /// The header `traceparent` of a request whose span is `span`, of the trace `under`, which may not be recorded.
    #[must_use]
    pub fn header(under: Option<TraceContext>, span: Option<&Span>) -> Option<String> {
        span.map(Span::context).or(under)?.header()
    }

    /// The span ends now.
    pub fn end(&self, span: Option<Span>) {
        if let Some(mut span) = span {
            // A clock that was set back does not make it negative.
            span.end = span::now().max(span.begin);
            self.queue([span]);
        }
    }

    /// Messages that are published under `under` are watched until they are delivered.
    #[must_use]
    pub(crate) fn expect(&self, under: Option<TraceContext>) -> Option<(TraceContext, Expected)> {
        let inner = self.0.as_ref()?;
        under.filter(|under| under.is_sampled).map(|under| (under, inner.deliveries.expect()))
    }

    fn queue(&self, spans: impl IntoIterator<Item = Span>) {
        let Some(inner) = &self.0 else { return };
        let mut waiting = inner.waiting.lock();
        for span in spans {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(span);
            } else {
                inner.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// What is counted.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let counter =
            |name, help, value: &AtomicU64| Figure { name, help, value: value.load(Relaxed), is_counter: true };
        vec![
            counter("trident_trace_spans", "Spans that the collector has accepted", &inner.sent),
            counter(
                "trident_trace_spans_lost",
                "Spans that were dropped, or that the collector has not accepted",
                &inner.lost,
            ),
        ]
    }

    /// Sends spans until the process ends; the last ones are sent by [`flush`](Self::flush).
    pub(super) async fn run(self, outgoing: Outgoing, drain: Drain) {
        let Some(inner) = &self.0 else { return };
        loop {
            let is_draining = drain.is_draining();
            self.queue(inner.deliveries.take_due(span::now()));
            inner.send_all(&outgoing).await;
            if is_draining {
                tokio::time::sleep(EVERY).await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = drain.begun() => {}
                }
            }
        }
    }

    /// Sends all spans, also of messages that are still watched. For the end of the process.
    pub(super) async fn flush(&self, outgoing: &Outgoing) {
        let Some(inner) = &self.0 else { return };
        self.queue(inner.deliveries.take_due(u64::MAX));
        inner.send_all(outgoing).await;
    }
}

impl Inner {
    /// Sends the spans that wait, after those that are being sent.
    async fn send_all(&self, outgoing: &Outgoing) {
        let _sending = self.sending.lock().await;
        loop {
            let spans: Vec<Span> = {
                let mut waiting = self.waiting.lock();
                let count = waiting.len().min(MAX_SENT);
                waiting.drain(..count).collect()
            };
            if spans.is_empty() {
                return;
            }
            let count = spans.len() as u64;
            match self.send(outgoing, &spans).await {
                Ok(()) => self.sent.fetch_add(count, Relaxed),
                Err(why) => {
                    if let Some(more) = self.log.lock().admit(&why) {
                        log::warn!("traces: spans are lost: {why}{more}");
                    }
                    self.lost.fetch_add(count, Relaxed)
                }
            };
        }
    }

    /// Sends a request, and again if the collector asks for it or cannot be reached.
    ///
    /// # Errors
    /// Why it was not accepted.
    async fn send(&self, outgoing: &Outgoing, spans: &[Span]) -> Result<(), String> {
        let Some(to) = &self.settings.url else { return Ok(()) };
        let (id, signer) = (random_id("traces"), Signer::default());
        let body = bytes::Bytes::from(otlp::encode(&self.process, spans));
        for attempt in 1.. {
            let deadline = Instant::now() + ANSWER_WITHIN;
            let post = Post { to, id: &id, body: body.clone(), signer: &signer, deadline, traceparent: None };
            let (why, pause) = match outgoing.post(post).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) if matches!(answer.status.as_u16(), 429 | 502..=504) => {
                    (format!("the collector answered {}", answer.status), answer.retry_after)
                }
                Ok(answer) => return Err(format!("the collector answered {}", answer.status)),
                Err(error) => (error.to_string().replace("the backend", "the collector"), None),
            };
            if attempt == MAX_ATTEMPTS {
                return Err(why);
            }
            tokio::time::sleep(pause.unwrap_or(EVERY).min(ANSWER_WITHIN)).await;
        }
        Ok(())
    }
}
