//! Events to many: who gets them is said first, then what.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_web::rt::time::{Instant, sleep_until};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Notify;

use crate::{
    AckError, AckSink, EmitError, EncodedPacket, IntoRooms, Namespace, Responses, Selector, SocketInfo,
    adapter::{AdapterError, BoxFuture, Broadcast},
    socket::packet::{Packet, Payload},
};

/// Longer than anybody waits. Moments that are much further off are none that a clock can tell.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
/// How long answers to a broadcast are waited for when no timeout is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A choice of sockets. Rooms add up: `to("a").to("b")` is everybody in either, each once.
///
/// ```no_run
/// # async fn example(io: socketio::SocketIo) -> Result<(), Box<dyn std::error::Error>> {
/// io.to(["team-1", "team-2"]).except("muted").emit("goal", &(2, 1));
/// for socket in io.in_("team-1").fetch_sockets().await? {
///     println!("{}", socket.id);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "this only chooses; say what to do with the chosen"]
pub struct BroadcastOperator {
    namespace: Namespace,
    to: Selector,
    volatile: bool,
    local: bool,
    timeout: Duration,
}

impl BroadcastOperator {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, to: Selector::default(), volatile: false, local: false, timeout: DEFAULT_TIMEOUT }
    }

    /// Those in these rooms, too.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.to.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// But not those in these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.to.except.extend(rooms.into_rooms());
        self
    }

    /// Only those on this server.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Leave those out who are busy, and keep it for nobody who is away.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// How long to wait for answers. 10 s if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends an event. It is on its way when this returns, and delivered if there is one server only; awaiting the result tells how
    /// it went with the others, dropping it does not stop it.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        match self.namespace.encode(event, args) {
            Ok(packet) => self.send(packet),
            Err(error) => Sending { namespace: self.namespace.clone(), state: State::Done(Some(Err(error))) },
        }
    }

    /// Sends a packet that was encoded before.
    pub fn send(&self, packet: EncodedPacket) -> Sending {
        let broadcast = self.broadcast(packet);
        let namespace = self.namespace.clone();
        if self.local {
            namespace.local().deliver(&broadcast.to, &broadcast.packet, broadcast.volatile);
            return Sending { namespace, state: State::Done(Some(Ok(()))) };
        }
        let adapter = namespace.adapter().clone();
        let within = namespace.clone();
        let mut future: BoxFuture<'static, Result<(), AdapterError>> =
            Box::pin(async move { adapter.broadcast(within.local(), broadcast).await });
        // Begun at once, so that two broadcasts in a row keep their order.
        let state = match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => State::Done(Some(result.map_err(EmitError::from))),
            Poll::Pending => State::Running(Some(future)),
        };
        Sending { namespace, state }
    }

    fn broadcast(&self, packet: EncodedPacket) -> Broadcast {
        Broadcast { packet, to: self.to.clone(), volatile: self.volatile, local: self.local }
    }

    /// Sends an event and waits for the answers of all, or the timeout. All get the same packet.
    ///
    /// # Errors
    /// When the event cannot be encoded, or other servers not reached.
    pub async fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<Responses<R>, EmitError> {
        let payload = self.namespace.payload(event, args)?;
        let name = self.namespace.name().clone();
        let id = self.namespace.local().next_ack_id();
        let packet = EncodedPacket::from(Packet::event(name, Some(id), payload));

        let gathered = Arc::new(Gathered::default());
        let sink = {
            let gathered = gathered.clone();
            AckSink(Arc::new(move |answer| gathered.add(answer)))
        };
        // Whoever has not answered when this ends, in whatever way, need not be listened to.
        let _forget = Forget { namespace: &self.namespace, to: &self.to, id };
        let deadline = Instant::now() + self.timeout.min(LONGEST_TIMEOUT);
        let local = self.namespace.local();
        let asked = if self.local {
            local.deliver_with_ack(&self.to, &packet, &sink)
        } else {
            let broadcast = self.broadcast(packet);
            self.namespace.adapter().broadcast_with_ack(local, broadcast, self.timeout, sink).await?
        };
        let timeout = std::pin::pin!(sleep_until(deadline));
        let all = std::pin::pin!(gathered.wait_for(asked));
        futures_util::future::select(timeout, all).await;
        Ok(gathered.responses(asked))
    }

    /// The sockets that match, on all servers.
    ///
    /// # Errors
    /// When other servers cannot be reached.
    pub async fn fetch_sockets(&self) -> Result<Vec<SocketInfo>, EmitError> {
        let local = self.namespace.local();
        if self.local {
            return Ok(local.sockets(&self.to));
        }
        Ok(self.namespace.adapter().fetch_sockets(local, self.to.clone()).await?)
    }

    /// Puts the sockets that match into rooms.
    ///
    /// # Errors
    /// When other servers cannot be reached.
    pub async fn sockets_join(&self, rooms: impl IntoRooms) -> Result<(), EmitError> {
        let (local, rooms) = (self.namespace.local(), rooms.into_rooms());
        if self.local {
            local.join(&self.to, &rooms);
            return Ok(());
        }
        Ok(self.namespace.adapter().join_sockets(local, self.to.clone(), rooms).await?)
    }

    /// Takes the sockets that match out of rooms.
    ///
    /// # Errors
    /// When other servers cannot be reached.
    pub async fn sockets_leave(&self, rooms: impl IntoRooms) -> Result<(), EmitError> {
        let (local, rooms) = (self.namespace.local(), rooms.into_rooms());
        if self.local {
            local.leave(&self.to, &rooms);
            return Ok(());
        }
        Ok(self.namespace.adapter().leave_sockets(local, self.to.clone(), rooms).await?)
    }

    /// Disconnects the sockets that match, or their whole connections if `close`.
    ///
    /// # Errors
    /// When other servers cannot be reached.
    pub async fn disconnect_sockets(&self, close: bool) -> Result<(), EmitError> {
        let local = self.namespace.local();
        if self.local {
            local.disconnect(&self.to, close);
            return Ok(());
        }
        Ok(self.namespace.adapter().disconnect_sockets(local, self.to.clone(), close).await?)
    }
}

/// An event on its way. Awaiting it tells how it went; dropping it lets it go on by itself.
pub struct Sending {
    namespace: Namespace,
    state: State,
}

enum State {
    Done(Option<Result<(), EmitError>>),
    Running(Option<BoxFuture<'static, Result<(), AdapterError>>>),
}

impl Future for Sending {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            State::Done(result) => return Poll::Ready(result.take().unwrap_or(Ok(()))),
            State::Running(None) => return Poll::Ready(Ok(())),
            State::Running(Some(future)) => match future.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result.map_err(EmitError::from),
            },
        };
        self.state = State::Done(None);
        Poll::Ready(result)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        match &mut self.state {
            State::Running(future) => {
                if let Some(future) = future.take() {
                    self.namespace.workers().spawn(async move {
                        if let Err(error) = future.await {
                            unreached(&error);
                        }
                    });
                }
            }
            State::Done(Some(Err(EmitError::Adapter(error)))) => unreached(error),
            State::Done(Some(Err(error))) => log::warn!("an event was not sent: {error}"),
            State::Done(_) => {}
        }
    }
}

/// Said quietly: when other servers cannot be reached this is so for every event, and the adapter says so once.
fn unreached(error: &AdapterError) {
    log::debug!("an event did not reach all servers: {error}");
}

/// The answers so far.
#[derive(Default)]
struct Gathered {
    answers: Mutex<(Vec<Payload>, usize)>,
    changed: Notify,
}

impl Gathered {
    fn add(&self, answer: Result<Payload, AckError>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(payload) => answers.0.push(payload),
            Err(_) => answers.1 += 1,
        }
        drop(answers);
        self.changed.notify_one();
    }

    async fn wait_for(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            {
                let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                if answers.0.len() + answers.1 >= count {
                    return;
                }
            }
            changed.await;
        }
    }

    fn responses<R: DeserializeOwned>(&self, asked: usize) -> Responses<R> {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let answers: Vec<R> = answers.0.iter().filter_map(|payload| payload.ack_args().ok()).collect();
        Responses { missing: asked.saturating_sub(answers.len()), answers }
    }
}

struct Forget<'a> {
    namespace: &'a Namespace,
    to: &'a Selector,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.namespace.local().forget_acks(self.to, self.id);
    }
}
