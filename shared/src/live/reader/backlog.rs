//! The channels of a reader's patterns that have something for it. It reads a few of them at a time: those whose unread messages are the
//! oldest. So the work of a read does not depend on how many channels match. Nor does the memory of a reader: of the channels with unread
//! messages it collects the first few thousand, and looks for the next ones when it has read these.
//!
//! ```text
//! noted by the log, or found by a scan ─▶ Backlog ─▶ the subscriptions of one read ─▶ Backlog, while there is more to read
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::Reader;
use crate::{
    live::log::Channel,
    pure::{ChannelName, Cursor, History},
};

/// The number of channels of one read.
const AT_ONCE: usize = 256;
/// The number of channels of the log that are visited before other tasks have their turn.
const VISITED_AT_ONCE: usize = 8_192;
/// The maximum number of channels with unread messages that are collected.
const MAX_UNREAD: usize = 4_096;
/// The memory of one of them in bytes, in a half-filled node.
pub(in crate::live) const COLLECTED_BYTES: usize = 2 * (size_of::<Cursor>() + size_of::<Arc<Channel>>());
/// The size up to which channels are collected; twice as many as the log has, if that is more. Beyond, those that the log does not have any
/// more are removed.
const MIN_LIMIT: usize = 8_192;

/// See the module.
pub(super) struct Backlog {
    /// By the oldest unread message, which no two channels have in common.
    unread: BTreeMap<Cursor, Arc<Channel>>,
    /// Channels whose oldest unread message is after this may not be among them.
    complete_up_to: Cursor,
    /// The maximum number of them.
    max_unread: usize,
    /// Channels that have dropped messages after the cursor.
    behind: Vec<Arc<Channel>>,
    /// The patterns whose channels are being looked for, each with the next part of the log.
    scans: VecDeque<(ChannelName, usize)>,
    /// The scans replace what was noted or collected: without them messages would be lost.
    are_scans_required: bool,
    limit: usize,
    /// The number of channels of one read.
    at_once: usize,
    /// Whether what the memory has dropped may be on disk.
    has_archive: bool,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            unread: BTreeMap::new(),
            complete_up_to: Cursor::MAX,
            max_unread: MAX_UNREAD,
            behind: Vec::new(),
            scans: VecDeque::new(),
            are_scans_required: false,
            limit: MIN_LIMIT,
            at_once: AT_ONCE,
            has_archive: false,
        }
    }
}

impl Backlog {
    /// An empty one, of a log that has an archive or not.
    pub(super) fn new(has_archive: bool) -> Self {
        Self { has_archive, ..Self::default() }
    }

    /// Whether a channel has dropped messages after `cursor`. What may be lost on any channel, the log says for all of them.
    fn is_behind(&self, history: &History, cursor: Cursor) -> bool {
        let [dropped, marked] = history.losses();
        dropped.up_to > cursor || (self.has_archive && marked.up_to > cursor)
    }

    /// Adds `channel` if it has anything after `cursor`.
    pub(super) fn add(&mut self, channel: &Arc<Channel>, cursor: Cursor) {
        let (is_behind, next) = {
            let history = channel.history.lock();
            let next = history.own(cursor, Cursor::MAX).next().map(|next| next.id);
            (self.is_behind(&history, cursor), next)
        };
        if is_behind {
            self.behind.push(channel.clone());
        } else if let Some(next) = next.filter(|next| *next <= self.complete_up_to) {
            self.unread.insert(next, channel.clone());
            if self.unread.len() > self.max_unread {
                self.drop_newest();
            }
        }
    }

    /// Leaves out the channel that is read last. It will be looked for.
    fn drop_newest(&mut self) {
        if let Some((newest, _)) = self.unread.pop_last() {
            self.complete_up_to = newest.before();
        }
    }

    /// The channels that the log has, and that `pattern` selects, are looked for.
    pub(super) fn scan(&mut self, pattern: &ChannelName) {
        self.scans.retain(|(known, _)| known != pattern);
        self.scans.push_back((pattern.clone(), 0));
    }

    /// As [`scan`](Self::scan), instead of what was noted and collected for these patterns.
    pub(super) fn scan_again<'a>(&mut self, patterns: impl Iterator<Item = &'a ChannelName>) {
        (self.unread, self.behind, self.complete_up_to) = (BTreeMap::new(), Vec::new(), Cursor::MAX);
        patterns.for_each(|pattern| self.scan(pattern));
        self.are_scans_required = true;
    }

    pub(super) fn is_scanning(&self) -> bool {
        !self.scans.is_empty()
    }

    /// Whether all channels with unread messages are collected, as far as they are found.
    pub(super) fn is_complete(&self) -> bool {
        self.complete_up_to == Cursor::MAX
    }

    /// The number of channels.
    fn len(&self) -> usize {
        self.unread.len() + self.behind.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_complete() && self.unread.is_empty() && self.behind.is_empty() && self.scans.is_empty()
    }

    /// Has one read take so few channels.
    #[cfg(test)]
    pub(super) fn take_at_once(&mut self, channels: usize) {
        self.at_once = channels;
    }

    /// Has so few channels with unread messages collected.
    #[cfg(test)]
    pub(super) fn collect_at_most(&mut self, channels: usize) {
        self.max_unread = channels;
        while self.unread.len() > channels {
            self.drop_newest();
        }
    }

    /// Keeps the channels whose names are `wanted`; returns whether some are not.
    pub(super) fn retain(&mut self, wanted: impl Fn(&ChannelName) -> bool) -> bool {
        let before = self.unread.len() + self.behind.len();
        self.unread.retain(|_, channel| wanted(&channel.name));
        self.behind.retain(|channel| wanted(&channel.name));
        before > self.unread.len() + self.behind.len()
    }

    /// A pattern is not read any more.
    pub(super) fn forget(&mut self, pattern: &ChannelName) {
        self.scans.retain(|(known, _)| known != pattern);
    }

    /// The channels to read next, of which `active` are read already, and up to where they are all that have messages; at most `head`.
    fn take(&mut self, active: usize, head: Cursor) -> (Vec<Arc<Channel>>, Cursor) {
        let head = head.min(self.complete_up_to);
        let mut channels = std::mem::take(&mut self.behind);
        // At least one, so that the cursor moves.
        let room = self.at_once.saturating_sub(active + channels.len()).max(1);
        let mut last = head;
        for _ in 0..room {
            let Some(first) = self.unread.first_entry().filter(|first| *first.key() <= head) else { break };
            last = *first.key();
            channels.push(first.remove());
        }
        let has_more = self.unread.first_key_value().is_some_and(|(next, _)| *next <= head);
        (channels, if has_more { last } else { head })
    }
}

impl Reader {
    /// Continues to look for channels; returns whether all are found. If not, the reader is woken at once.
    pub(super) fn find_matched(&mut self) -> bool {
        let cursor = self.cursor;
        let Some(matching) = self.matching.as_deref_mut() else { return true };
        let (patterns, backlog) = (&matching.patterns, &mut matching.backlog);
        let mut is_scan = backlog.is_scanning();
        // Those that were collected are read, or too many are.
        let is_read = !backlog.is_complete() && backlog.complete_up_to <= cursor;
        if !is_scan && (is_read || backlog.len() > backlog.limit) {
            is_scan = true;
            backlog.scan_again(patterns.iter().map(|pattern| &pattern.name));
        }
        let mut visited = 0;
        while let Some((pattern, part)) = backlog.scans.pop_front() {
            if visited > VISITED_AT_ONCE {
                backlog.scans.push_front((pattern, part));
                self.waiter.waker.wake();
                self.note_size();
                return false;
            }
            if let Some(count) = self.log.visit_selected(&pattern, part, |channel| backlog.add(channel, cursor)) {
                visited += count;
                backlog.scans.push_front((pattern, part + 1));
            }
        }
        backlog.are_scans_required = false;
        if is_scan {
            backlog.limit = MIN_LIMIT.max(2 * backlog.len());
        }
        self.note_size();
        true
    }

    /// Has the log know how many channels are collected.
    fn note_size(&self) {
        if let Some(matching) = &self.matching
            && let Some(first) = matching.patterns.first()
        {
            first.noted.set_collected(matching.backlog.len());
        }
    }

    /// It has read everything up to the log's position: what follows will be noted, and scans for what came before find nothing. Returns whether
    /// they are ended; those that replace what was noted are not.
    pub(super) fn end_scans(&mut self) -> bool {
        let Some(matching) = &mut self.matching else { return true };
        let can_end = !matching.backlog.are_scans_required;
        if can_end {
            matching.backlog.scans.clear();
        }
        can_end
    }

    /// Looks for the channels of the next read; returns whether they are found. If not, the reader is woken at once.
    pub(super) fn find_channels(&mut self) -> bool {
        let head = self.log.head();
        self.match_channels();
        let is_found = self.find_matched();
        if is_found {
            self.activate(head);
        }
        is_found
    }

    /// Whether it looks for the channels that its patterns select.
    pub(super) fn is_scanning(&self) -> bool {
        self.matching.as_ref().is_some_and(|matching| matching.backlog.is_scanning())
    }

    /// Subscribes to the channels that are read next. Returns up to where the subscriptions are all that have messages.
    pub(super) fn activate(&mut self, head: Cursor) -> Cursor {
        // A piece from disk is of the present subscriptions.
        let is_idle = self.is_idle();
        let Some(matching) = self.matching.as_mut().filter(|_| is_idle) else { return head };
        let active = self.subscriptions.iter().filter(|subscription| subscription.key.is_none()).count();
        let (channels, up_to) = matching.backlog.take(active, head);
        self.push_matched(channels);
        up_to
    }

    /// The channels of patterns are in the backlog again if there is more to read, except for those whose losses are being reported.
    pub(super) fn deactivate(&mut self) {
        let (is_idle, cursor) = (self.is_idle(), self.cursor);
        let Some(matching) = self.matching.as_mut().filter(|_| is_idle) else { return };
        self.subscriptions.retain(|matched| {
            matched.key.is_some() || {
                let is_behind = matching.backlog.is_behind(&matched.channel.history.lock(), cursor);
                if !is_behind {
                    matching.backlog.add(&matched.channel, cursor);
                }
                is_behind
            }
        });
        self.note_size();
    }

    /// Whether nothing is read from disk.
    fn is_idle(&self) -> bool {
        self.older.as_ref().is_none_or(|older| older.is_idle())
    }
}

#[cfg(test)]
mod tests;
