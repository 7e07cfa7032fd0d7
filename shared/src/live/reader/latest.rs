//! The newest messages of a channel, from disk too: an index is in the order of ids, so they are read forwards, from ever earlier on.

use std::{collections::VecDeque, sync::Arc};

use super::{Limit, Reader};
use crate::{
    live::log::Log,
    pure::{ChannelName, Cursor, Message, Since},
};

/// How far before the known messages the search begins, in milliseconds, and by how much that grows each time.
const FIRST_MS: u64 = 1_000;
const GROWTH: u64 = 8;

/// The newest messages so far that are within a limit.
struct Newest {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    limit: Limit,
    has_more: bool,
}

impl Newest {
    fn new(limit: Limit) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, limit, has_more: false }
    }

    fn push(&mut self, message: Arc<Message>) {
        self.bytes += message.len();
        self.messages.push_back(message);
        while (self.messages.len() > self.limit.messages || self.bytes > self.limit.bytes)
            && self.messages.len() > 1
            && let Some(oldest) = self.messages.pop_front()
        {
            self.bytes -= oldest.len();
            self.has_more = true;
        }
    }
}

/// The newest messages of `channel` up to and including `last`, oldest first, at least one; and whether there are older ones. Waits for the
/// disk if the memory does not have them.
pub async fn latest(log: &Arc<Log>, channel: &ChannelName, limit: Limit, last: Cursor) -> (Vec<Arc<Message>>, bool) {
    let found = search(log, channel, limit, last, |found| found.has_more).await;
    (found.messages.into(), found.has_more)
}

/// The newest message stored on any of `channels`. Waits for the disk if the memory has none of them; what a pattern selects is found in
/// memory only.
pub async fn newest(log: &Arc<Log>, channels: &[ChannelName]) -> Option<Arc<Message>> {
    // The memory drops its oldest messages: what it has of any channel is newer than all that it dropped.
    let mut newest = log.newest(channels);
    if newest.is_none() && log.archive().is_some() {
        let limit = Limit { messages: 1, bytes: usize::MAX };
        for channel in channels.iter().filter(|channel| !channel.is_pattern()) {
            let found = search(log, channel, limit, log.head(), |found| !found.messages.is_empty()).await;
            newest = newest.into_iter().chain(found.messages).max_by_key(|message| message.id);
        }
    }
    newest
}

/// The newest messages of `channel` up to and including `last`, from ever earlier on until they are enough.
async fn search(
    log: &Arc<Log>,
    channel: &ChannelName,
    limit: Limit,
    last: Cursor,
    is_enough: impl Fn(&Newest) -> bool,
) -> Newest {
    let last = last.min(log.head());
    let mut found = Newest::new(limit);
    log.latest(channel, limit.messages.saturating_add(1), last).into_iter().for_each(|message| found.push(message));
    let mut begin = found.messages.front().map_or(last, |oldest| oldest.id);
    let mut width = FIRST_MS;
    let mut is_all = log.archive().is_none();
    while !is_enough(&found) && !is_all {
        begin = Cursor::new(begin.ms.saturating_sub(width), 0);
        width = width.saturating_mul(GROWTH);
        is_all = begin <= log.floor();
        let since = if is_all { Since::Earliest } else { Since::After(begin) };
        let mut reader = Reader::open(log, std::slice::from_ref(channel), since);
        found = Newest::new(limit);
        while reader.cursor() < last
            && let Some(batch) = reader.stored(Limit::default()).await
        {
            batch.messages.into_iter().take_while(|message| message.id <= last).for_each(|message| found.push(message));
        }
    }
    found
}
