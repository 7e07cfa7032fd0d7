//! A member of the chat: identity, subscriptions, current room. Stored with the socket.

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use edge::{Access, limits::Slot, metrics};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use shared::{live::reader::Reader, pure::ChannelName};
use socketio::{Ack, Outgoing, Socket, Source, Transport};

use crate::{
    feed::{Feed, Plan},
    history::{Replies, Reply},
    reply::Outcome,
    selectors,
};

/// Maximum number of rooms and channels that one socket can read.
pub(crate) const MAX_CHANNELS: usize = 128;

/// The slot of a connection in the limits, and its member of the chat, if there is one. It is kept from the first request to the end, whether
/// or not the client connects to the chat.
pub(crate) struct Place {
    slot: Mutex<Slot>,
    member: Mutex<Weak<Member>>,
}

impl Place {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot: Mutex::new(slot), member: Mutex::default() }
    }

    /// Its slot.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock()
    }

    /// The member whose messages the connection's source reads.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.member.lock().upgrade()
    }

    pub(crate) fn set_member(&self, member: &Arc<Member>) {
        *self.member.lock() = Arc::downgrade(member);
    }
}

/// The transport under which a connection is counted.
pub(crate) fn counted_as(transport: Transport) -> metrics::Transport {
    match transport {
        Transport::WebSocket => metrics::Transport::WebSocket,
        Transport::Polling => metrics::Transport::Polling,
    }
}

/// See the module.
pub(crate) struct Member {
    /// Their permissions.
    pub(crate) access: Access,
    /// The slot of their connection in the limits.
    pub(crate) place: Arc<Place>,
    state: Mutex<State>,
}

/// The mutable state of a member.
pub(crate) struct State {
    pub(crate) name: Arc<str>,
    /// The channels of their rooms; the last is the current room.
    pub(crate) rooms: Vec<ChannelName>,
    /// The channels that they subscribed to.
    pub(crate) subscriptions: Vec<ChannelName>,
    pub(crate) feed: Feed,
    /// Answers with earlier messages, which wait until the client can take them.
    pub(crate) replies: Replies,
}

/// The part of it that a session stores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: Arc<str>,
    pub(crate) rooms: Vec<ChannelName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "selectors::names")]
    pub(crate) subscriptions: Vec<ChannelName>,
    #[serde(default)]
    pub(crate) plan: Plan,
}

impl Member {
    pub(crate) fn new(access: Access, place: Arc<Place>, name: Arc<str>, feed: Feed) -> Self {
        Self::with(access, place, State::new(name, Vec::new(), Vec::new(), feed))
    }

    /// Continues as the member whose session this was.
    pub(crate) fn resumed(access: Access, place: Arc<Place>, profile: Profile, feed: Feed) -> Self {
        let Profile { name, rooms, subscriptions, .. } = profile;
        Self::with(access, place, State::new(name, rooms, subscriptions, feed))
    }

    fn with(access: Access, place: Arc<Place>, state: State) -> Self {
        Self { access, place, state: Mutex::new(state) }
    }

    /// The mutable state. Do not hold the lock while sending to sockets.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Queues the answer of `make` after everything delivered so far, until the client can take it.
    ///
    /// # Errors
    /// When too many such answers are waiting already.
    pub(crate) fn reply_later<F: Future<Output = String> + Send + 'static>(
        &self,
        ack: &Ack,
        make: impl FnOnce(usize) -> F + Send + 'static,
    ) -> Outcome<()> {
        let mut state = self.state();
        state.replies.push(ack, make)?;
        state.feed.wake();
        Ok(())
    }

    /// The data to store with a session.
    pub(crate) fn profile(&self) -> Profile {
        let state = self.state();
        Profile {
            name: state.name.clone(),
            rooms: state.rooms.clone(),
            subscriptions: state.subscriptions.clone(),
            plan: state.feed.plan().clone(),
        }
    }
}

/// Publishes a member's data to other servers: `{"name": …}`.
pub(crate) fn show(socket: &Socket, name: &str) {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
    }
    if let Err(error) = socket.set_data(&Shown { name }) {
        log::error!("{}: {error}", socket.id());
    }
}

impl State {
    fn new(name: Arc<str>, rooms: Vec<ChannelName>, subscriptions: Vec<ChannelName>, feed: Feed) -> Self {
        Self { name, rooms, subscriptions, feed, replies: Replies::default() }
    }

    /// Whether they have left the chat: late requests change nothing.
    pub(crate) fn is_gone(&self) -> bool {
        self.replies.is_closed()
    }

    /// Lends the reader of the messages, for which the member waits and for nothing else.
    pub(crate) fn lend(&mut self) -> Option<Reader> {
        if self.can_lend() { self.feed.lend() } else { None }
    }

    /// Whether there is a reader to [lend](Self::lend).
    pub(crate) fn can_lend(&self) -> bool {
        !self.is_gone() && self.replies.is_empty() && self.feed.can_lend()
    }

    /// Unsubscribes from `channel`, unless a room or a subscription still needs it.
    pub(crate) fn release(&mut self, channel: &ChannelName) {
        if !self.rooms.contains(channel) && !self.subscriptions.contains(channel) {
            self.feed.remove(channel);
        }
    }

    /// Whether `more` additional channels would exceed the limit.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        self.feed.channels() + more > MAX_CHANNELS
    }
}

/// While it exists, no messages are delivered to the member.
pub(crate) struct Hold<'a>(&'a Member);

impl<'a> Hold<'a> {
    pub(crate) fn on(member: &'a Member) -> Self {
        member.state().feed.hold();
        Self(member)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.state().feed.release();
    }
}

/// The messages of a member, as the connection pulls them.
pub(crate) struct Reading {
    member: Arc<Member>,
    /// The answer that is being built.
    reply: Option<Reply>,
}

impl Reading {
    pub(crate) fn of(member: Arc<Member>) -> Self {
        Self { member, reply: None }
    }

    fn next_reply(&mut self, budget: usize) -> Option<Reply> {
        self.reply.take().or_else(|| self.member.state().replies.pop(budget))
    }
}

impl Source for Reading {
    fn poll_next(&mut self, cx: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        // Messages that are read because of a join follow its answer.
        while let Some(mut reply) = self.next_reply(budget) {
            match reply.poll(cx) {
                Poll::Ready(Some(packet)) => return Poll::Ready(vec![Outgoing::from(packet)]),
                Poll::Ready(None) => {}
                Poll::Pending => {
                    self.reply = Some(reply);
                    self.member.state().replies.set_building(true);
                    return Poll::Pending;
                }
            }
        }
        let pulled = {
            let mut state = self.member.state();
            state.replies.set_building(false);
            ready!(state.feed.poll_pull(cx, budget))
        };
        pulled.count(self.member.place.lock().figures());
        Poll::Ready(pulled.packets.into_iter().map(Outgoing::from).collect())
    }

    fn offset(&self) -> Option<String> {
        self.member.state().feed.offset().map(|offset| offset.to_string())
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        live::log::{Limits, Log},
        pure::{Cursor, Since},
    };

    use super::*;

    fn channel(name: &str) -> ChannelName {
        name.parse().unwrap()
    }

    fn state(rooms: &[&str], subscriptions: &[&str]) -> State {
        let log = Arc::new(Log::new(Limits::default(), Cursor::new(1, 0)));
        let mut feed = Feed::new(&log, 7, false);
        let [rooms, subscriptions] =
            [rooms, subscriptions].map(|names| names.iter().map(|name| channel(name)).collect());
        feed.add([&rooms, &subscriptions].into_iter().flatten().cloned().collect::<Vec<_>>(), Since::Now);
        State::new("Mei".into(), rooms, subscriptions, feed)
    }

    #[test]
    fn a_channel_is_read_as_long_as_a_room_or_a_subscription_wants_it() {
        for (rooms, subscriptions, left) in [
            (&["chat.a"][..], &[][..], 1),
            (&[], &["chat.a"], 1),
            (&["chat.a"], &["chat.a"], 1),
            (&["chat.b"], &["chat.c"], 2),
            (&[], &[], 0),
        ] {
            let mut state = state(rooms, subscriptions);
            state.release(&channel("chat.a"));
            assert_eq!(state.feed.channels(), left, "{rooms:?} {subscriptions:?}");
        }
        let mut state = state(&["chat.a", "chat.b"], &[]);
        state.rooms.retain(|room| room.as_str() != "chat.a");
        state.release(&channel("chat.a"));
        assert_eq!(state.feed.channels(), 1);
    }

    #[test]
    fn channels_count_towards_the_maximum() {
        let names: Vec<String> = (0..MAX_CHANNELS).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (have, more, full) in
            [(0, MAX_CHANNELS, false), (0, MAX_CHANNELS + 1, true), (127, 1, false), (128, 0, false), (128, 1, true)]
        {
            assert_eq!(state(&names[..have], &[]).is_full(more), full, "{have} + {more}");
        }
    }

    #[test]
    fn a_profile_survives_its_session() {
        let state = state(&["chat.a"], &["news"]);
        let profile = Profile {
            name: state.name.clone(),
            rooms: state.rooms.clone(),
            subscriptions: state.subscriptions.clone(),
            plan: state.feed.plan().clone(),
        };
        let read: Profile = serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
        assert_eq!(read, profile);
    }
}
