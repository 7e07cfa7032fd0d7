//! All subscriptions: what requests, appends, answers and the time change. It does no I/O: the caller stores [`Book::changes`] before it answers and
//! before it sends what is [`due`](Book::due).

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use edge::settings::StreamSettings;
use shared::{
    live::bus::EntryChange,
    pure::{ChannelName, Cursor},
};

use super::{
    command::{Caller, Command, Reply},
    limits::{KEY_BYTES, MAX_BYTES, MAX_LINKS, SHARE},
    request::Delivery,
    signing::ServerKey,
    stored,
    subscription::{Link, Scope, Streams, Subscription, link_bytes},
};

mod due;
mod workers;

pub(super) use due::{Job, Outcome, Sending};

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    key: Arc<ServerKey>,
    settings: StreamSettings,
    subscriptions: BTreeMap<String, Subscription>,
    /// Those that may need a wake.
    unchecked: BTreeSet<String>,
    /// Entries that differ from what is stored.
    changed: BTreeSet<Entry>,
    /// Streams that a pattern selects and a subscription has no space for.
    pub(super) unlinked: u64,
    /// The bytes that there is space for.
    space: usize,
    /// Nothing more can be stored, until something is removed.
    pub(super) is_full: bool,
}

/// What is stored on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Subscription(String),
    Link(String, ChannelName),
}

impl Book {
    /// The subscriptions that are stored, where there are `space` bytes for entries.
    pub(super) fn new(
        key: Arc<ServerKey>,
        settings: StreamSettings,
        subscriptions: BTreeMap<String, Subscription>,
        space: usize,
    ) -> Self {
        let unchecked = subscriptions.keys().cloned().collect();
        let space = MAX_BYTES.min(space.saturating_sub(KEY_BYTES));
        Self { key, settings, subscriptions, unchecked, changed: BTreeSet::new(), unlinked: 0, space, is_full: false }
    }

    /// What is to be stored since the last call.
    pub(super) fn changes(&mut self) -> Vec<EntryChange> {
        let of = |entry: &Entry| match entry {
            Entry::Subscription(id) => stored::subscription(id, self.subscriptions.get(id)),
            Entry::Link(id, name) => {
                let link = self.subscriptions.get(id).and_then(|subscription| subscription.links.get(name));
                stored::link(id, name, link)
            }
        };
        mem::take(&mut self.changed).iter().map(of).collect()
    }

    /// The number of subscriptions, of their streams, and their bytes.
    pub(super) fn figures(&self) -> [usize; 3] {
        let links = self.subscriptions.values().map(|one| one.links.len()).sum();
        let bytes = self.subscriptions.iter().map(|(id, one)| one.bytes(id)).sum();
        [self.subscriptions.len(), links, bytes]
    }

    /// Which channels concern a subscription: by their names, and by what their names begin with.
    pub(super) fn wanted(&self) -> (BTreeSet<ChannelName>, BTreeSet<String>) {
        let names = self.subscriptions.values().flat_map(|one| one.links.iter());
        let names = names.filter(|(_, link)| link.is_explicit).map(|(name, _)| name.clone()).collect();
        let patterns = self.subscriptions.values().filter_map(|one| one.config.pattern.as_ref());
        (names, patterns.map(|pattern| pattern.prefix().to_owned()).collect())
    }

    /// Whether there is a subscription with this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.subscriptions.contains_key(id)
    }

    /// Any of them may need a wake.
    pub(super) fn check_all(&mut self) {
        self.unchecked = self.subscriptions.keys().cloned().collect();
    }

    /// Executes a request. `existing` are the streams that a new pattern may select.
    pub(super) fn execute(
        &mut self,
        command: Command,
        existing: &[ChannelName],
        streams: &impl Streams,
        now_ms: u64,
    ) -> Reply {
        match command {
            Command::Keys => Reply::of(200, self.key.jwks()),
            Command::Put { id, caller, config, scope, base } => {
                if let Some(known) = self.subscriptions.get(&id) {
                    let is_same = known.config == config && (caller.has_all || known.owner == caller.owner);
                    return if is_same {
                        Reply::of(200, known.describe(&id, self.key.kid()))
                    } else {
                        let message = "there is another subscription with this id";
                        Reply::error(409, "SUBSCRIPTION_ALREADY_EXISTS", message)
                    };
                }
                let subscription = Subscription::new(config, caller.owner.clone(), scope, base, now_ms);
                self.create(id, subscription, caller.has_all, existing, streams)
            }
            Command::Get { id, caller } => match self.of(&id, &caller) {
                Some(_) => {
                    self.prune(&id, streams);
                    self.describe(&id, 200)
                }
                None => Reply::missing(),
            },
            Command::Delete { id, caller } => {
                if self.of(&id, &caller).is_some() {
                    self.remove(&id);
                }
                Reply::done()
            }
            Command::Link { id, caller, streams: names } => {
                if self.of(&id, &caller).is_none() {
                    return Reply::missing();
                }
                self.add(&id, names, caller.has_all, streams)
            }
            Command::Unlink { id, caller, stream } => {
                let Some(subscription) = self.of(&id, &caller) else { return Reply::missing() };
                if let Some(link) = subscription.links.get_mut(&stream) {
                    link.is_explicit = false;
                    if !link.is_glob {
                        subscription.links.remove(&stream);
                    }
                    self.changed.insert(Entry::Link(id, stream));
                }
                Reply::done()
            }
            Command::Claim { id, caller, worker } => match self.of(&id, &caller) {
                Some(_) => self.claim(&id, worker, streams, now_ms),
                None => Reply::missing(),
            },
            Command::Worker { id, token, ack, act } => self.work(&id, &token, ack, act, streams, now_ms),
        }
    }

    /// The subscription, if the caller may use it.
    fn of(&mut self, id: &str, caller: &Caller) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(id).filter(|one| caller.has_all || one.owner == caller.owner)
    }

    fn describe(&self, id: &str, status: u16) -> Reply {
        let kid = self.key.kid();
        self.subscriptions.get(id).map_or_else(Reply::missing, |one| Reply::of(status, one.describe(id, kid)))
    }

    fn create(
        &mut self,
        id: String,
        mut subscription: Subscription,
        has_all: bool,
        existing: &[ChannelName],
        streams: &impl Streams,
    ) -> Reply {
        let explicit = subscription.config.streams.clone();
        let tail = |name: &ChannelName| streams.ends(name).map(|(_, tail)| tail);
        for name in explicit {
            let link =
                Link { is_explicit: true, is_glob: subscription.selects(&name, &self.settings), acked: tail(&name) };
            subscription.links.insert(name, link);
        }
        for name in existing {
            if !subscription.selects(name, &self.settings) {
                continue;
            }
            // What there is already is not replayed (§6.2).
            let Some(tail) = tail(name).filter(|_| !subscription.links.contains_key(name)) else { continue };
            if subscription.links.len() == MAX_LINKS {
                self.unlinked += 1;
                break;
            }
            let link = Link { is_explicit: false, is_glob: true, acked: Some(tail) };
            subscription.links.insert(name.clone(), link);
        }
        if let Err(refusal) = self.admit(&subscription.owner, subscription.bytes(&id), true, has_all) {
            return refusal;
        }
        self.changed.extend(subscription.links.keys().map(|name| Entry::Link(id.clone(), name.clone())));
        self.changed.insert(Entry::Subscription(id.clone()));
        self.subscriptions.insert(id.clone(), subscription);
        self.describe(&id, 201)
    }

    /// Whether there is space for `bytes` more of `owner`, and for another subscription.
    fn admit(&self, owner: &str, bytes: usize, is_new: bool, has_all: bool) -> Result<(), Reply> {
        let full = |message: &str| Err(Reply::error(429, "TOO_MANY_SUBSCRIPTIONS", message));
        let StreamSettings { subscriptions, subscriptions_per_client, .. } = &self.settings;
        let own = || self.subscriptions.iter().filter(|(_, one)| one.owner == owner);
        if is_new && subscriptions.is_some_and(|most| self.subscriptions.len() >= most) {
            return full("there are as many subscriptions as there can be (TRIDENT_STREAM_SUBSCRIPTIONS)");
        }
        if is_new && !has_all && subscriptions_per_client.is_some_and(|most| own().count() >= most) {
            return full("you have as many subscriptions as you can have (TRIDENT_STREAM_SUBSCRIPTIONS_PER_CLIENT)");
        }
        let [.., all] = self.figures();
        if self.is_full || all + bytes > self.space {
            return full("there is no space for more subscriptions or streams of them");
        }
        if !has_all && own().map(|(id, one)| one.bytes(id)).sum::<usize>() + bytes > self.space / SHARE {
            return full("your subscriptions have no space for more streams");
        }
        Ok(())
    }

    /// Adds named streams to a subscription, from their ends on (§6.4).
    fn add(&mut self, id: &str, names: BTreeSet<ChannelName>, has_all: bool, streams: &impl Streams) -> Reply {
        let Some(subscription) = self.subscriptions.get(id) else { return Reply::missing() };
        let new = || names.iter().filter(|name| !subscription.links.contains_key(*name));
        if matches!(&subscription.config.delivery, Delivery::PullWake(stream) if names.contains(stream)) {
            let message = "a subscription cannot have its own `wake_stream` in `streams`";
            return Reply::error(400, "INVALID_REQUEST", message);
        }
        if subscription.links.len() + new().count() > MAX_LINKS {
            let message = format!("a subscription has at most {MAX_LINKS} streams");
            return Reply::error(429, "TOO_MANY_SUBSCRIPTIONS", &message);
        }
        let bytes = new().map(|name| link_bytes(id, name)).sum();
        if let Err(refusal) = self.admit(&subscription.owner, bytes, false, has_all) {
            return refusal;
        }
        let Some(subscription) = self.subscriptions.get_mut(id) else { return Reply::missing() };
        for name in names {
            let is_glob = subscription.selects(&name, &self.settings);
            let acked = streams.ends(&name).map(|(_, tail)| tail);
            let new = Link { is_explicit: true, is_glob, acked };
            subscription.links.entry(name.clone()).or_insert(new).is_explicit = true;
            self.changed.insert(Entry::Link(id.to_owned(), name));
        }
        Reply::done()
    }

    fn remove(&mut self, id: &str) {
        let Some(subscription) = self.subscriptions.remove(id) else { return };
        self.changed.extend(subscription.links.into_keys().map(|name| Entry::Link(id.to_owned(), name)));
        self.changed.insert(Entry::Subscription(id.to_owned()));
    }

    fn prune(&mut self, id: &str, streams: &impl Streams) {
        if let Some(subscription) = self.subscriptions.get_mut(id) {
            let gone = subscription.prune(streams);
            self.changed.extend(gone.into_iter().map(|name| Entry::Link(id.to_owned(), name)));
        }
    }

    /// These channels got messages.
    pub(super) fn appended(&mut self, channels: &[ChannelName], streams: &impl Streams) {
        let ids: Vec<_> = self.subscriptions.keys().cloned().collect();
        for id in ids {
            let mut may_prune = true;
            for channel in channels {
                if self.subscriptions.get(&id).is_some_and(|one| one.links.contains_key(channel))
                    || self.find(&id, channel, streams, &mut may_prune)
                {
                    self.unchecked.insert(id.clone());
                }
            }
        }
    }

    /// Links a stream that was created after the subscription, if its pattern selects it: all of it is new (§6.2). A full subscription is looked through
    /// for streams that are gone once while it `may_prune`: that asks about each of them.
    fn find(&mut self, id: &str, channel: &ChannelName, streams: &impl Streams, may_prune: &mut bool) -> bool {
        let Some(subscription) = self.subscriptions.get(id) else { return false };
        if !subscription.selects(channel, &self.settings) || streams.ends(channel).is_none() {
            return false;
        }
        if subscription.links.len() >= MAX_LINKS && mem::take(may_prune) {
            self.prune(id, streams);
        }
        let Some(subscription) = self.subscriptions.get(id) else { return false };
        let has_all = !matches!(subscription.scope, Scope::Of(_));
        let has_space = subscription.links.len() < MAX_LINKS
            && self.admit(&subscription.owner, link_bytes(id, channel), false, has_all).is_ok();
        if !has_space {
            self.unlinked += 1;
            return false;
        }
        if let Some(subscription) = self.subscriptions.get_mut(id) {
            subscription.links.insert(channel.clone(), Link { is_explicit: false, is_glob: true, acked: None });
            self.changed.insert(Entry::Link(id.to_owned(), channel.clone()));
        }
        true
    }
}

/// What a worker has processed with a wake: the end of each stream when it was sent.
pub(super) type Snapshot = Vec<(ChannelName, Cursor)>;

#[cfg(test)]
mod tests;
