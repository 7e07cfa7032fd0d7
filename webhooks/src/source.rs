//! What is to be delivered: events of the wanted kinds, and messages of the wanted channels, in the order of the log.

use std::{future::poll_fn, sync::Arc, task::Poll};

use edge::events::CHANNEL;
use shared::{
    live::{
        log::Log,
        reader::{Limit, Reader},
    },
    pure::{ChannelName, Cursor, EventKind, EventKinds, Message, Since, access::Patterns},
};

use crate::progress::{Loss, Selected};

/// Maximum number of events of a batch, and their size in bytes of data; it has at least one event, however large.
const BATCH: Limit = Limit { messages: 100, bytes: 256 * 1024 };

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    log: Arc<Log>,
    selection: Selection,
    /// Reads everything wanted, and continues from batch to batch.
    reader: Option<Reader>,
    /// The last piece, which is sent until it is delivered: its bounds, and the channels that it is of.
    sent: Option<(Cursor, Cursor, Vec<ChannelName>)>,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Of the feed.
    pub(crate) kinds: EventKinds,
    /// Of the channels of clients.
    pub(crate) channels: Patterns,
}

/// A part of the log.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What was lost before it.
    pub(crate) loss: Option<Loss>,
    /// The wanted messages; none if only a loss is known.
    pub(crate) messages: Vec<Arc<Message>>,
    /// The position that it begins after: there is nothing wanted before.
    pub(crate) after: Cursor,
    /// The last position that it covers.
    pub(crate) up_to: Cursor,
}

impl Selection {
    /// As it is stored.
    pub(crate) fn stored(&self) -> Selected {
        Selected { kinds: self.kinds.to_string(), channels: self.channels.to_string() }
    }

    /// Reads what is stored; `None` if this version does not know it.
    pub(crate) fn of(stored: &Selected) -> Option<Self> {
        Some(Self { kinds: stored.kinds.parse().ok()?, channels: stored.channels.parse().ok()? })
    }

    /// The channels and patterns to read.
    fn selectors(&self) -> Vec<ChannelName> {
        let feed = CHANNEL.parse().ok().filter(|_| !self.kinds.is_empty());
        let wanted = self.channels.iter().filter_map(|pattern| ChannelName::selector(&pattern.to_string()).ok());
        feed.into_iter().chain(wanted).collect()
    }

    /// Gaps of the feed are wanted with any kind.
    fn has(&self, message: &Message) -> bool {
        let event = message.draft.event.as_str();
        let kind = || EventKind::ALL.into_iter().find(|kind| kind.name() == event);
        !message.draft.channel.is_server() || kind().is_none_or(|kind| self.kinds.has(kind))
    }
}

impl Source {
    pub(crate) fn new(log: &Arc<Log>, selection: Selection) -> Self {
        Self { log: log.clone(), selection, reader: None, sent: None }
    }

    /// Nothing is read for a while, and nothing is kept in memory meanwhile: [`next`](Self::next) begins after its cursor again.
    pub(crate) fn pause(&mut self) {
        self.reader = None;
    }

    /// The next wanted messages, after `after` at first, and then after those of the call before. `after` advances while there are none.
    /// Waits for them. No message is lost if the future is dropped.
    pub(crate) async fn next(&mut self, after: &mut Cursor) -> Piece {
        let Self { log, selection, reader, sent } = self;
        let open = || Reader::open(log, &selection.selectors(), Since::After(*after));
        let reader = reader.get_or_insert_with(open);
        loop {
            let begun = *after;
            let batch = poll_fn(|cx| match reader.poll_read(cx, BATCH) {
                Poll::Ready(Some(batch)) => Poll::Ready(batch),
                // The log is closed when the process ends, and so is the sender.
                Poll::Ready(None) | Poll::Pending => {
                    *after = reader.place().unwrap_or(begun).max(begun);
                    Poll::Pending
                }
            })
            .await;
            *after = batch.cursor;
            let loss = batch.gap.as_ref().map(Loss::dropped);
            let messages: Vec<_> = batch.messages.into_iter().filter(|message| selection.has(message)).collect();
            if loss.is_some() || !messages.is_empty() {
                *sent = Some((begun, batch.cursor, channels(&messages)));
                return Piece { loss, messages, after: begun, up_to: batch.cursor };
            }
        }
    }

    /// The wanted messages after `after` up to `up_to`, as far as the log has them. Of the piece that was returned last, only its channels
    /// are read. `selection` is what was selected then, if that is another one.
    pub(crate) async fn range(
        &mut self,
        after: Cursor,
        up_to: Cursor,
        selection: Option<Selection>,
    ) -> Vec<Arc<Message>> {
        let selection = selection.as_ref().unwrap_or(&self.selection);
        let known = self.sent.take().filter(|(begin, end, _)| (*begin, *end) == (after, up_to));
        let names = known.map_or_else(|| selection.selectors(), |(.., channels)| channels);
        let mut reader = Reader::open(&self.log, &names, Since::After(after));
        let mut messages = Vec::new();
        while reader.cursor() < up_to
            && let Some(batch) = poll_fn(|cx| reader.poll_stored(cx, BATCH)).await
        {
            let is_wanted = |message: &&Arc<Message>| message.id <= up_to && selection.has(message);
            messages.extend(batch.messages.iter().filter(is_wanted).cloned());
        }
        self.sent = Some((after, up_to, channels(&messages)));
        messages
    }
}

/// The channels of messages, each once.
fn channels(messages: &[Arc<Message>]) -> Vec<ChannelName> {
    let mut channels: Vec<_> = messages.iter().map(|message| message.draft.channel.clone()).collect();
    channels.sort_unstable();
    channels.dedup();
    channels
}

#[cfg(test)]
mod tests {
    use shared::{
        live::log::Limits,
        pure::{Draft, Payload, Retention},
    };

    use super::*;

    fn log(count: Option<usize>) -> Arc<Log> {
        let channel = Retention { count, ..Retention::default() };
        Arc::new(Log::new(Limits { channel, ..Limits::default() }, Cursor::ZERO))
    }

    fn publish(log: &Log, channel: &str, event: &str) -> Cursor {
        let draft = Draft::new(channel.parse().unwrap(), Payload::from_text("x")).event(event.parse().unwrap());
        log.append(vec![draft], 1_000)[0]
    }

    fn source(log: &Arc<Log>, kinds: &str, channels: &str) -> Source {
        Source::new(log, Selection { kinds: kinds.parse().unwrap(), channels: channels.parse().unwrap() })
    }

    fn ids(messages: &[Arc<Message>]) -> Vec<Cursor> {
        messages.iter().map(|message| message.id).collect()
    }

    /// All pieces that are there.
    async fn rest(source: &mut Source, after: &mut Cursor) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Ok(piece) = tokio::time::timeout(std::time::Duration::ZERO, source.next(after)).await {
            pieces.push(piece);
        }
        pieces
    }

    #[tokio::test]
    async fn wanted_messages_are_in_the_order_of_the_log() {
        let log = log(None);
        let (mut all, mut expected) = (source(&log, "connected,api_write", "a.*"), Vec::new());
        let mut add = |channel: &str, event: &str, is_wanted: bool| {
            let id = publish(&log, channel, event);
            expected.extend(is_wanted.then_some(id));
        };
        for n in 0..150 {
            add("$events", "connected", true);
            add(&format!("a.{}", n % 7), "message", true);
            add("b", "message", false);
            add("$events", "subscribed", false);
        }
        add("$events", "feed_gap", true);
        let mut after = Cursor::ZERO;
        let pieces = rest(&mut all, &mut after).await;
        assert!(pieces.iter().all(|piece| piece.loss.is_none() && piece.messages.len() <= 100));
        assert_eq!(pieces.iter().flat_map(|piece| ids(&piece.messages)).collect::<Vec<_>>(), expected);
        assert_eq!(after, log.head());
        for piece in &pieces {
            let again = source(&log, "connected,api_write", "a.*").range(piece.after, piece.up_to, None).await;
            assert_eq!(ids(&again), ids(&piece.messages));
        }
        // Also those of a channel that is new, and what comes while it waits.
        let (waiting, id) = tokio::join!(all.next(&mut after), async { publish(&log, "a.new", "message") });
        assert_eq!(ids(&waiting.messages), [id]);
        publish(&log, "b", "message");
        assert!(rest(&mut all, &mut after).await.is_empty());
    }

    #[tokio::test]
    async fn what_was_dropped_is_a_loss() {
        let log = log(Some(5));
        let first = publish(&log, "a", "message");
        let sent: Vec<_> = (0..20).map(|_| publish(&log, "a", "message")).collect();
        let mut source = source(&log, "none", "a,a.*");
        let mut after = first;
        let pieces = rest(&mut source, &mut after).await;
        let loss = pieces[0].loss.as_ref().unwrap();
        assert_eq!((loss.requested, ids(&pieces[0].messages)), (first, sent[15..].to_vec()));
        assert_eq!(ids(&source.range(first, sent[17], None).await), sent[15..18]);
    }
}
