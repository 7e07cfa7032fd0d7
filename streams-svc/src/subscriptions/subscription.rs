//! One subscription: its streams, how far they are acknowledged, and its wake.

use std::{collections::BTreeMap, sync::OnceLock};

use edge::settings::StreamSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::pure::{ChannelName, Cursor, access::Patterns};

use super::{
    ack::Ack,
    limits::{LINK_OVERHEAD, OVERHEAD},
    request::{Config, Delivery},
};
use crate::offset::Offset;

/// The pause after the first failure, which doubles with each further one, and the longest, in milliseconds (§7.1).
const FIRST_PAUSE_MS: u64 = 1_000;
const MAX_PAUSE_MS: u64 = 60_000;
/// The offset before the first message.
const BEFORE_FIRST: &str = "-1";

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) config: Config,
    /// Who created it.
    pub(super) owner: String,
    pub(super) scope: Scope,
    /// The URL of all streams, as its creator sees it.
    base: String,
    /// Distinguishes it from others with its id before and after it.
    pub(super) nonce: String,
    created_ms: u64,
    pub(super) generation: u64,
    pub(super) wake: Option<Wake>,
    /// Failures in a row.
    failures: u32,
    /// Its streams.
    #[serde(skip)]
    pub(super) links: BTreeMap<ChannelName, Link>,
    /// The wake that is being sent.
    #[serde(skip)]
    pub(super) attempt: Option<String>,
    /// Its [size](Self::bytes) without its streams.
    #[serde(skip)]
    own_bytes: OnceLock<usize>,
}

/// Which streams a pattern may select.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Those of all channels, for a backend.
    All,
    /// Those that need no token.
    Open,
    /// Those of a token.
    Of(Patterns),
}

/// A stream of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// Whether it was named.
    pub(super) is_explicit: bool,
    /// Whether the pattern selects it.
    pub(super) is_glob: bool,
    /// The last position that was processed; `None` for nothing.
    pub(super) acked: Option<Cursor>,
}

/// That there is something for a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wake {
    pub(super) id: String,
    /// A stream that has something.
    pub(super) stream: ChannelName,
    pub(super) phase: Phase,
}

/// How far a wake is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// It is sent at this time, in milliseconds since the Unix epoch.
    Due(u64),
    /// It is in the wake stream, and no worker has claimed it.
    Announced,
    /// A worker has it until this time.
    Leased { until_ms: u64, holder: Option<String> },
}

/// The positions of streams.
pub(super) trait Streams {
    /// The position before the first message of a stream, and that of its last one; `None` if there is no such stream.
    fn ends(&self, channel: &ChannelName) -> Option<(Cursor, Cursor)>;
}

impl Scope {
    /// Whether a pattern may select the stream of this channel.
    fn allows(&self, channel: &ChannelName, settings: &StreamSettings) -> bool {
        !channel.is_server()
            && match self {
                Self::All => true,
                Self::Open => settings.names.allow(channel) && !StreamSettings::is_reserved(channel),
                Self::Of(patterns) => patterns.allow(channel),
            }
    }
}

/// The bytes that a stream of the subscription `id` takes at most.
pub(super) fn link_bytes(id: &str, name: &ChannelName) -> usize {
    LINK_OVERHEAD + id.len() + name.as_str().len()
}

impl Link {
    /// Whether something follows what was processed.
    fn is_pending(self, (start, tail): (Cursor, Cursor)) -> bool {
        tail > self.acked.unwrap_or(start).max(start)
    }
}

impl Subscription {
    /// A subscription without streams.
    pub(super) fn new(config: Config, owner: String, scope: Scope, base: String, now_ms: u64) -> Self {
        Self {
            config,
            owner,
            scope,
            base,
            nonce: outgoing::random_id("n"),
            created_ms: now_ms,
            generation: 0,
            wake: None,
            failures: 0,
            links: BTreeMap::new(),
            attempt: None,
            own_bytes: OnceLock::new(),
        }
    }

    /// The bytes that the subscription `id` takes at most, in memory or where it is stored.
    pub(super) fn bytes(&self, id: &str) -> usize {
        let own = || OVERHEAD + id.len() + serde_json::to_vec(self).map_or(0, |json| json.len());
        let links = self.links.keys().map(|name| link_bytes(id, name));
        self.own_bytes.get_or_init(own) + links.sum::<usize>()
    }

    /// Whether its pattern selects the stream of this channel.
    pub(super) fn selects(&self, channel: &ChannelName, settings: &StreamSettings) -> bool {
        let is_own = matches!(&self.config.delivery, Delivery::PullWake(wakes) if wakes == channel);
        let is_match = self.config.pattern.as_ref().is_some_and(|pattern| pattern.matches(channel));
        is_match && !is_own && self.scope.allows(channel, settings)
    }

    /// Forgets streams that do not exist any more, unless they were named. Returns them.
    pub(super) fn prune(&mut self, streams: &impl Streams) -> Vec<ChannelName> {
        let is_gone = |(name, link): &(&ChannelName, &Link)| !link.is_explicit && streams.ends(name).is_none();
        let gone: Vec<_> = self.links.iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        self.links.retain(|name, _| !gone.contains(name));
        gone
    }

    /// The first stream with something for a worker.
    pub(super) fn pending(&self, streams: &impl Streams) -> Option<&ChannelName> {
        let is_pending = |link: &Link, name| streams.ends(name).is_some_and(|ends| link.is_pending(ends));
        self.links.iter().find(|(name, link)| is_pending(link, name)).map(|(name, _)| name)
    }

    /// Begins a wake, if there is something for a worker and no wake.
    pub(super) fn begin_wake(&mut self, streams: &impl Streams, now_ms: u64) -> bool {
        if self.wake.is_some() {
            return false;
        }
        let Some(stream) = self.pending(streams).cloned() else { return false };
        self.generation += 1;
        self.wake = Some(Wake { id: outgoing::random_id("w"), stream, phase: Phase::Due(now_ms) });
        true
    }

    /// A worker has the wake from now on, or still.
    pub(super) fn extend_lease(&mut self, now_ms: u64, holder: Option<String>) {
        if let Some(wake) = &mut self.wake {
            wake.phase = Phase::Leased { until_ms: now_ms.saturating_add(self.config.lease_ms), holder };
        }
    }

    /// The worker that has the wake.
    pub(super) fn holder(&self) -> Option<&str> {
        match &self.wake.as_ref()?.phase {
            Phase::Leased { holder, .. } => holder.as_deref(),
            Phase::Due(_) | Phase::Announced => None,
        }
    }

    /// The wake was sent.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wake could not be sent: it is again after a pause, which `spread`, from -1 to 1, changes by a fifth.
    pub(super) fn failed(&mut self, now_ms: u64, spread: f64) {
        self.failures = self.failures.saturating_add(1);
        let pause = self.pause_ms(spread);
        if let Some(wake) = &mut self.wake {
            wake.phase = Phase::Due(now_ms.saturating_add(pause));
        }
    }

    /// The pause after the last failure, in milliseconds, changed by `spread` fifths of it; 0 without a failure.
    fn pause_ms(&self, spread: f64) -> u64 {
        let Some(repeated) = self.failures.checked_sub(1) else { return 0 };
        let pause = FIRST_PAUSE_MS.saturating_mul(1 << repeated.min(16)).min(MAX_PAUSE_MS);
        (pause as f64 * (1.0 + 0.2 * spread)) as u64
    }

    /// What was to happen later than a lease or a pause from now on happens after that: the time of day was set back.
    pub(super) fn clamp(&mut self, now_ms: u64) {
        let latest_due_ms = now_ms.saturating_add(self.pause_ms(1.0));
        match self.wake.as_mut().map(|wake| &mut wake.phase) {
            Some(Phase::Due(at_ms)) => *at_ms = latest_due_ms.min(*at_ms),
            Some(Phase::Leased { until_ms, .. }) => {
                *until_ms = now_ms.saturating_add(self.config.lease_ms).min(*until_ms);
            }
            Some(Phase::Announced) | None => {}
        }
    }

    /// Whether all of `ack` may be applied.
    ///
    /// # Errors
    /// What is wrong (§6.1, §7).
    pub(super) fn check(&self, ack: &Ack, streams: &impl Streams) -> Result<(), &'static str> {
        for ack in &ack.acks {
            let (stream, offset) = ack.as_ref().ok_or("it is not an offset of a stream of this subscription")?;
            let link = self.links.get(stream).ok_or("the stream is not one of this subscription")?;
            if link.acked.is_some_and(|acked| *offset < acked) {
                return Err("the offset is before the one that was acknowledged");
            }
            if streams.ends(stream).is_none_or(|(_, tail)| *offset > tail) {
                return Err("the offset is beyond the end of the stream");
            }
        }
        Ok(())
    }

    /// What was processed does not wake a worker again. Returns the streams.
    pub(super) fn ack(&mut self, acks: impl IntoIterator<Item = (ChannelName, Cursor)>) -> Vec<ChannelName> {
        let apply = |(stream, offset): (ChannelName, Cursor)| {
            let link = self.links.get_mut(&stream)?;
            link.acked = link.acked.max(Some(offset));
            Some(stream)
        };
        acks.into_iter().filter_map(apply).collect()
    }

    /// The end of each stream: what a worker has processed that processes this wake.
    pub(super) fn snapshot(&self, streams: &impl Streams) -> Vec<(ChannelName, Cursor)> {
        self.links.keys().filter_map(|name| Some((name.clone(), streams.ends(name)?.1))).collect()
    }

    /// The streams, as workers get them.
    pub(super) fn streams(&self, streams: &impl Streams) -> Value {
        let one = |(name, link): (&ChannelName, &Link)| {
            let ends = streams.ends(name);
            json!({
                "path": name.as_str(),
                "link_type": link.kind(),
                "acked_offset": offset(link.acked),
                "tail_offset": offset(ends.map(|(_, tail)| tail)),
                "has_pending": ends.is_some_and(|ends| link.is_pending(ends)),
            })
        };
        self.links.iter().map(one).collect()
    }

    /// The body of a webhook (§7.1).
    pub(super) fn notification(&self, id: &str, token: &str, streams: &impl Streams) -> Value {
        json!({
            "subscription_id": id,
            "wake_id": self.wake.as_ref().map(|wake| &wake.id),
            "generation": self.generation,
            "streams": self.streams(streams),
            "callback_url": format!("{}/__ds/subscriptions/{id}/callback", self.base),
            "callback_token": token,
        })
    }

    /// The message in the wake stream (§7.2).
    pub(super) fn event(&self, id: &str, now_ms: u64) -> Value {
        json!({
            "type": "wake",
            "subscription_id": id,
            "stream": self.wake.as_ref().map(|wake| wake.stream.as_str()),
            "generation": self.generation,
            "ts": now_ms,
        })
    }

    /// As clients read it (§6.3). `kid` names the key of signatures.
    pub(super) fn describe(&self, id: &str, kid: &str) -> Value {
        let Config { delivery, pattern, lease_ms, description, .. } = &self.config;
        let (kind, webhook, wake_stream) = match delivery {
            Delivery::Webhook(url) => {
                let jwks_url = format!("{}/__ds/jwks.json", self.base);
                let signing = json!({ "alg": "ed25519", "kid": kid, "jwks_url": jwks_url });
                ("webhook", json!({ "url": url, "signing": signing }), Value::Null)
            }
            Delivery::PullWake(stream) => ("pull-wake", Value::Null, json!(stream.as_str())),
        };
        let one = |(name, link): (&ChannelName, &Link)| json!({ "path": name.as_str(), "link_type": link.kind(), "acked_offset": offset(link.acked) });
        let created = i64::try_from(self.created_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        json!({
            "id": id,
            "subscription_id": id,
            "type": kind,
            "pattern": pattern,
            "streams": self.links.iter().map(one).collect::<Vec<_>>(),
            "webhook": webhook,
            "wake_stream": wake_stream,
            "lease_ttl_ms": lease_ms,
            "created_at": created.map(|created| created.to_string()),
            "status": if self.failures == 0 { "active" } else { "failed" },
            "description": description,
        })
    }
}

impl Link {
    fn kind(self) -> &'static str {
        if self.is_explicit { "explicit" } else { "glob" }
    }
}

fn offset(cursor: Option<Cursor>) -> String {
    cursor.map_or_else(|| BEFORE_FIRST.to_owned(), |cursor| Offset(cursor).to_string())
}
