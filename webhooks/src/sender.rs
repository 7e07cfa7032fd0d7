//! The sender: of all processes on a bus, one at a time.
//!
//! It renews its lease while it sends. If it cannot, what it is doing is cancelled: another process may be sending the same batch, with the
//! same id and the same bytes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edge::{
    Edge,
    service::Service,
    settings::HookSettings,
    traces::{SpanKind, Traces},
};
use outgoing::{Endpoint, Outgoing, Post, Signer, random_id};
use rand::RngExt as _;
use shared::{
    live::{
        bus::{Bus, BusError, Lease},
        clock::{Moment, wall_clock},
        log::Log,
    },
    pure::Cursor,
};
use tokio::time::{sleep, timeout};

use crate::{
    batch::{body, digest},
    progress::{Bounds, Loss, LossReason, Progress, Tried},
    source::{Piece, Selection, Source},
    status::Status,
};

/// The name of the lease, and of what is stored under it.
const LEASE: &str = "webhooks";
/// How long the lease lasts after it was renewed, and how often it is: a process that was killed is replaced within their sum.
const LEASE_TTL: Duration = Duration::from_secs(2);
const RENEWAL: Duration = Duration::from_millis(500);
/// How long the application may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The pause after the first failure, which doubles with each further one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause that an answer may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The pause between two attempts to read or store the position.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// The pause between two looks at a log that is behind.
const BEHIND: Duration = Duration::from_millis(50);
/// How soon the position is stored when nothing follows a delivered batch, and how often it is while no event is wanted.
const IDLE: Duration = Duration::from_millis(20);
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Sender {
    bus: Arc<dyn Bus>,
    edge: Edge,
    outgoing: Outgoing,
    to: Endpoint,
    signer: Signer,
    give_up: Option<Duration>,
    selection: Selection,
    status: Status,
    /// Where the log ends when the process starts, if it is loaded: from there on everything is sent, if nothing has been sent before.
    begin: Option<Cursor>,
}

/// What the process has done with its lease.
#[derive(Debug)]
struct State {
    progress: Progress,
    /// What is stored.
    stored: Option<Progress>,
    /// The pause after the next failure. It grows until a batch is delivered, also over batches that are abandoned or given up.
    pause: Duration,
}

impl Sender {
    pub(crate) fn new(service: &Service, to: Endpoint, status: Status) -> Self {
        let settings = &service.edge.settings.backend;
        let HookSettings { kinds, channels, give_up, .. } = settings.hooks.clone();
        Self {
            bus: service.bus.clone(),
            edge: service.edge.clone(),
            outgoing: service.edge.outgoing.clone(),
            to,
            signer: Signer::new(settings.hook_secrets.clone()),
            give_up,
            selection: Selection { kinds, channels },
            status,
            begin: service.log().is_filled().then(|| service.log().head()),
        }
    }

    fn log(&self) -> &Arc<Log> {
        self.bus.log()
    }

    /// Sends whenever it has the lease, until the process drains.
    pub(crate) async fn run(self) {
        tokio::select! {
            () = self.work() => {}
            () = self.edge.drain.begun() => {}
        }
        self.status.set_sender(false);
        // Another process takes over at once.
        self.bus.release(LEASE, self.log().head()).await;
    }

    async fn work(&self) {
        self.bus.filled().await;
        let begin = self.begin.unwrap_or_else(|| self.log().head());
        loop {
            let asked = Instant::now();
            if self.bus.lease(LEASE, LEASE_TTL).await.is_some() {
                self.status.set_sender(true);
                tokio::select! {
                    () = self.renew(asked) => log::info!("webhooks: another process sends from now on"),
                    () = self.send(begin) => {}
                }
                self.status.set_sender(false);
            }
            sleep(RENEWAL).await;
        }
    }

    /// Renews the lease until that fails.
    async fn renew(&self, mut renewed: Instant) {
        loop {
            sleep(RENEWAL).await;
            let asked = Instant::now();
            let left = (renewed + LEASE_TTL).saturating_duration_since(asked);
            match timeout(left, self.bus.lease(LEASE, LEASE_TTL)).await {
                // A new lease: it had ended, and another process may have sent something.
                Ok(Some(Lease::Kept)) => renewed = asked,
                // While the bus is unavailable the lease lasts.
                Ok(None) if self.bus.ready().is_err() && !left.is_zero() => {}
                _ => return,
            }
        }
    }

    /// Sends batch after batch, from `begin` on if nothing has been sent before. Does not return.
    async fn send(&self, begin: Cursor) {
        let (stored, progress) = match self.read().await {
            None => (None, Progress::at(begin)),
            Some(Ok(stored)) => (Some(stored.clone()), stored),
            Some(Err(_)) => (None, Progress::unknown(begin)),
        };
        let mut state = State { progress, stored, pause: FIRST_PAUSE };
        let mut source = Source::new(self.log(), self.selection.clone());
        loop {
            let (bounds, body) = match state.progress.batch.clone() {
                None => self.next(&mut source, &mut state).await,
                Some(bounds) => match self.remade(&mut source, state.progress.cursor, &bounds).await {
                    Some(body) => (bounds, body),
                    None => {
                        self.abandon(&mut source, &mut state, &bounds);
                        continue;
                    }
                },
            };
            self.deliver(&mut source, &mut state, &bounds, body).await;
        }
    }

    /// Waits for the next batch, and stores its bounds.
    async fn next(&self, source: &mut Source, state: &mut State) -> (Bounds, Bytes) {
        loop {
            let mut after = state.progress.cursor;
            // What was delivered is stored together with the next batch, unless there is none yet.
            let is_stored = state.stored.as_ref().is_some_and(|stored| stored.batch.is_none());
            let patience = if is_stored { SAVE_EVERY } else { IDLE };
            match timeout(patience, source.next(&mut after)).await {
                Ok(piece) => return self.begin(piece, state).await,
                Err(_) => {
                    state.progress.cursor = after;
                    self.store(state).await;
                }
            }
        }
    }

    /// Makes a batch of a piece of the log, and stores its bounds.
    async fn begin(&self, piece: Piece, state: &mut State) -> (Bounds, Bytes) {
        let Piece { loss, messages, after, up_to } = piece;
        if let Some(loss) = &loss {
            log::warn!("webhooks: events after {} were dropped before they were delivered", loss.requested);
            self.status.lost();
        }
        // What was given up is before that.
        let given_up = state.progress.loss.take();
        let loss = match (given_up, loss) {
            (Some(earlier), Some(later)) => Some(Loss { count: None, resumed: later.resumed, ..earlier }),
            (one, other) => one.or(other),
        };
        let body = body(loss.as_ref(), &messages);
        let count = messages.len() + usize::from(loss.is_some());
        let (id, digest, begun) = (random_id("msg"), digest(&body), wall_clock());
        self.status.begin(messages.first().map_or(begun, |first| first.time()));
        let selected = Some(self.selection.stored());
        let bounds = Bounds { id, up_to, count, loss, selected, digest, begun };
        state.progress = Progress { cursor: after, loss: None, batch: Some(bounds.clone()) };
        self.store(state).await;
        (bounds, body)
    }

    /// The body of a batch whose bounds are stored; `None` if the log has not all of its events any more.
    async fn remade(&self, source: &mut Source, after: Cursor, bounds: &Bounds) -> Option<Bytes> {
        // A log that is being loaded, or is behind, does not say what was dropped.
        while !self.log().is_filled() || self.log().head() < bounds.up_to {
            sleep(BEHIND).await;
        }
        let selected = bounds.selected.as_ref().filter(|selected| **selected != self.selection.stored());
        let messages = source.range(after, bounds.up_to, selected.and_then(Selection::of)).await;
        let body = body(bounds.loss.as_ref(), &messages);
        self.status.begin(messages.first().map_or(bounds.begun, |first| first.time()));
        (digest(&body) == bounds.digest).then_some(body)
    }

    /// The batch cannot be sent any more: what is left of it becomes another one. It is behind what the source has read, which therefore
    /// begins again.
    fn abandon(&self, source: &mut Source, state: &mut State, bounds: &Bounds) {
        *source = Source::new(self.log(), self.selection.clone());
        log::warn!("webhooks: events of the batch {} were dropped before it was delivered", bounds.id);
        self.status.lost();
        state.progress.batch = None;
        state.progress.loss.clone_from(&bounds.loss);
    }

    /// Sends a batch until it is delivered, given up, or not there any more.
    async fn deliver(&self, source: &mut Source, state: &mut State, bounds: &Bounds, body: Bytes) {
        let tried = Tried::new(bounds.begun, Moment::now());
        loop {
            let (why, retry_after) = match self.post(bounds, body.clone()).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            if self.status.fail(why.clone()) {
                log::warn!("webhooks: {} is not delivered, and will be sent again: {why}", bounds.id);
            }
            // Every channel with new messages would be noted for a reader that does not read.
            source.pause();
            // What the application asks for does not outlast what the operator has decided.
            let left = self.give_up.map(|limit| limit.saturating_sub(tried.until(Moment::now())));
            let jittered = state.pause.mul_f64(rand::rng().random_range(0.8..=1.2));
            state.pause = (2 * state.pause).min(MAX_PAUSE);
            if left.is_some_and(|left| left.is_zero()) {
                return self.give_up(state, bounds, &why);
            }
            let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            sleep(jittered.max(asked).min(left.unwrap_or(Duration::MAX))).await;
            if self.remade(source, state.progress.cursor, bounds).await.is_none() {
                return self.abandon(source, state, bounds);
            }
        }
        state.pause = FIRST_PAUSE;
        if self.status.delivered(bounds.count) {
            log::info!("webhooks: events are delivered again");
        }
        state.progress = Progress::at(bounds.up_to);
    }

    fn give_up(&self, state: &mut State, bounds: &Bounds, why: &str) {
        log::error!("webhooks: {} with {} events is given up (TRIDENT_HOOK_GIVE_UP): {why}", bounds.id, bounds.count);
        self.status.lost();
        let earlier = bounds.loss.as_ref();
        let messages = bounds.count - usize::from(earlier.is_some());
        let loss = Loss {
            requested: earlier.map_or(state.progress.cursor, |earlier| earlier.requested),
            resumed: bounds.up_to,
            count: earlier.map_or(Some(messages), |earlier| earlier.count.map(|count| count + messages)),
            reason: LossReason::GivenUp,
        };
        state.progress = Progress { cursor: bounds.up_to, loss: Some(loss), batch: None };
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why the application has not accepted it, and after which time it may be sent again.
    async fn post(&self, bounds: &Bounds, body: Bytes) -> Result<(), (String, Option<Duration>)> {
        let traces = &self.edge.traces;
        let trace = traces.root(None);
        let mut span = traces.begin(trace, "webhook", SpanKind::Client);
        let header = Traces::header(trace, span.as_ref());
        let result = self.post_traced(&bounds.id, body, header.as_deref()).await;
        if let Some(span) = &mut span {
            span.set("trident.webhook.id", bounds.id.clone());
            span.set("messaging.batch.message_count", bounds.count as u64);
            if let Err((why, _)) = &result {
                span.fail(why.clone());
            }
        }
        traces.end(span);
        result
    }

    async fn post_traced(
        &self,
        id: &str,
        body: Bytes,
        traceparent: Option<&str>,
    ) -> Result<(), (String, Option<Duration>)> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let (to, signer) = (&self.to, &self.signer);
        match self.outgoing.post(Post { to, id, body, signer, deadline, traceparent }).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err((format!("the backend answered {}", answer.status), answer.retry_after)),
            Err(error) => Err((error.to_string(), None)),
        }
    }

    /// What is stored, if there is anything; an error if it is damaged. Waits until the bus answers.
    async fn read(&self) -> Option<Result<Progress, serde_json::Error>> {
        let text = loop {
            match self.bus.read_state(LEASE).await {
                Ok(text) => break text,
                Err(error) => self.wait(&error).await,
            }
        };
        self.status.stored();
        let progress = Progress::decode(&text?);
        if let Err(error) = &progress {
            log::error!("webhooks: the stored position is damaged, so events may be missing: {error}");
            self.status.lost();
        }
        Some(progress)
    }

    /// Stores the position. Waits until that is done.
    async fn store(&self, state: &mut State) {
        if state.stored.as_ref() == Some(&state.progress) {
            return;
        }
        while let Err(error) = self.bus.write_state(LEASE, state.progress.encode()).await {
            self.wait(&error).await;
        }
        self.status.stored();
        state.stored = Some(state.progress.clone());
    }

    async fn wait(&self, error: &BusError) {
        if self.status.unstored(error.to_string()) {
            log::warn!("webhooks: the position cannot be stored: {error}");
        }
        sleep(STORE_PAUSE).await;
    }
}
