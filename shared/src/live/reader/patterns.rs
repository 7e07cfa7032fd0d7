//! Subscriptions by a pattern: to all channels whose names begin alike, those that do not exist yet included.
//!
//! The log notes channels with new messages for each pattern ([`Noted`]). A reader adds them to its [`Backlog`] before it reads. Channels of
//! which it has read everything are in neither, so that its work depends on the channels that have something for it, however many match.

use std::{collections::HashSet, sync::Arc};

use super::{Reader, backlog::Backlog, losses::Found, subscriptions::Subscription};
use crate::{
    live::log::{Channel, Noted},
    pure::{ChannelName, Cursor, Loss},
};

/// The patterns of a reader.
pub(super) struct Matching {
    pub(super) patterns: Vec<Pattern>,
    pub(super) backlog: Backlog,
}

/// A pattern of a reader.
pub(super) struct Pattern {
    pub(super) name: ChannelName,
    pub(super) noted: Arc<Noted>,
    /// Messages up to here are not wanted, even if the reader's cursor is older.
    from: Cursor,
    /// Losses by this event of the log, and by those before it, have been reported or were never requested.
    pub(super) reported: u64,
}

/// How patterns read a channel.
pub(super) struct Matched {
    /// Messages up to here are not wanted.
    pub(super) from: Cursor,
    /// As [`Pattern::reported`].
    pub(super) reported: u64,
    /// As of the subscription that there was.
    pub(super) removal: Option<Cursor>,
}

impl Matching {
    /// The patterns that read `channel`.
    fn patterns_of(&self, channel: &ChannelName) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter().filter(|pattern| pattern.name.selects(channel))
    }

    /// The position from which a pattern reads `channel`, if one does.
    fn position_of(&self, channel: &ChannelName) -> Option<Cursor> {
        self.patterns_of(channel).map(|pattern| pattern.from).min()
    }

    /// Which losses of `channel` all patterns have reported that read it.
    fn reported_of(&self, channel: &ChannelName) -> u64 {
        self.patterns_of(channel).map(|pattern| pattern.reported).min().unwrap_or_default()
    }
}

impl Reader {
    /// Subscribes to what `pattern` selects. Channels that have messages already are looked for, unless only later messages are wanted.
    pub(super) fn add_pattern(&mut self, pattern: &ChannelName, from: Cursor, has_earlier: bool) {
        if self.reads_pattern(pattern) {
            return;
        }
        let (reported, has_archive) = (self.log.losses(), self.log.archive().is_some());
        // Noted first: what is published meanwhile is found twice, and not missed.
        let noted = self.log.note_pattern(pattern, &self.waiter);
        let empty = || Box::new(Matching { patterns: Vec::new(), backlog: Backlog::new(has_archive) });
        let matching = self.matching.get_or_insert_with(empty);
        matching.patterns.push(Pattern { name: pattern.clone(), noted, from, reported });
        if has_earlier {
            matching.backlog.scan(pattern);
        }
        self.match_from(pattern);
        self.forget_older();
    }

    pub(super) fn remove_pattern(&mut self, pattern: &ChannelName) {
        let Some(matching) = &mut self.matching else { return };
        matching.patterns.retain(|known| known.name != *pattern);
        matching.backlog.forget(pattern);
        let Matching { patterns, backlog, .. } = &mut **matching;
        backlog.retain(|name| patterns.iter().any(|pattern| pattern.name.selects(name)));
        let left = &*matching;
        self.subscriptions.retain_mut(|matched| {
            matched.key.is_some() || {
                let position = left.position_of(&matched.channel.name);
                matched.from = position.unwrap_or(matched.from);
                position.is_some()
            }
        });
        if matching.patterns.is_empty() {
            self.matching = None;
        }
        self.forget_older();
    }

    pub(super) fn move_pattern(&mut self, pattern: &ChannelName, to: impl Fn(Cursor) -> Cursor) {
        let known = self.matching.iter_mut().flat_map(|matching| &mut matching.patterns);
        known.filter(|known| known.name == *pattern).for_each(|known| known.from = to(known.from));
        self.match_from(pattern);
        self.forget_older();
    }

    /// What `pattern` selects is read from its position on.
    fn match_from(&mut self, pattern: &ChannelName) {
        let Some(matching) = &self.matching else { return };
        let of_pattern = |matched: &&mut Subscription| matched.key.is_none() && pattern.selects(&matched.channel.name);
        for matched in self.subscriptions.iter_mut().filter(of_pattern) {
            matched.from = matching.position_of(&matched.channel.name).unwrap_or(matched.from);
        }
    }

    pub(super) fn reads_pattern(&self, pattern: &ChannelName) -> bool {
        self.patterns().any(|known| known == pattern)
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &ChannelName> {
        self.matching.iter().flat_map(|matching| matching.patterns.iter().map(|pattern| &pattern.name))
    }

    /// How patterns read `channel`, if they do. The channel is read by its name from now on.
    pub(super) fn take_matched(&mut self, channel: &ChannelName) -> Option<Matched> {
        let matching = self.matching.as_ref()?;
        let (from, reported) = (matching.position_of(channel)?, matching.reported_of(channel));
        let mut removal = None::<Cursor>;
        // A channel that was forgotten and created again may have been noted as both.
        self.subscriptions.retain(|matched| {
            let is_it = matched.channel.name == *channel;
            if is_it {
                removal = removal.into_iter().chain([matched.removal_reported_up_to]).min();
            }
            !is_it
        });
        let backlog = &mut self.matching.as_mut()?.backlog;
        let is_unread = backlog.retain(|name| name != channel) || !backlog.is_complete();
        Some(Matched { from, reported, removal: if is_unread { Some(Cursor::ZERO) } else { removal } })
    }

    /// A channel that patterns may select is not read by its name any more.
    pub(super) fn look_again(&mut self, channel: &ChannelName) {
        if self.matching.as_ref().is_some_and(|matching| matching.position_of(channel).is_some()) {
            let (found, cursor) = (self.log.selected_by(channel), self.cursor);
            if let Some(matching) = &mut self.matching {
                found.iter().for_each(|channel| matching.backlog.add(channel, cursor));
            }
        }
    }

    /// Adds the channels that have been noted since the last call to the backlog. Those of all visible messages have been.
    pub(super) fn match_channels(&mut self) {
        let cursor = self.cursor;
        let Some(Matching { patterns, backlog, .. }) = self.matching.as_deref_mut() else { return };
        let mut has_overflowed = false;
        for pattern in &*patterns {
            match pattern.noted.take() {
                Some(channels) => channels.iter().for_each(|channel| backlog.add(channel, cursor)),
                None => has_overflowed = true,
            }
        }
        if has_overflowed {
            backlog.scan_again(patterns.iter().map(|pattern| &pattern.name));
        }
    }

    /// Subscribes to `channels`, as far as patterns select them.
    pub(super) fn push_matched(&mut self, channels: Vec<Arc<Channel>>) {
        let Some(matching) = &self.matching else { return };
        let mut known: HashSet<_> =
            self.subscriptions.iter().map(|subscription| Arc::as_ptr(&subscription.channel)).collect();
        for channel in channels {
            if known.insert(Arc::as_ptr(&channel))
                && let Some(from) = matching.position_of(&channel.name)
            {
                let reported = matching.reported_of(&channel.name);
                // What the disk removed after the reader's cursor is lost: it had been noted.
                let (removal_reported_up_to, ends_after) = (Cursor::ZERO, Cursor::MAX);
                let matched = Subscription { channel, key: None, from, reported, removal_reported_up_to, ends_after };
                self.subscriptions.push(matched);
            }
        }
    }

    /// Whether a channel that the log does not know any more may have lost messages after the cursor, which is not reported yet.
    pub(super) fn is_forgotten(&self) -> bool {
        self.matching.is_some() && self.is_unreported(self.log.forgotten())
    }

    /// Whether a loss on any channel is still to be reported.
    fn is_unreported(&self, loss: Loss) -> bool {
        let mut patterns = self.matching.iter().flat_map(|matching| &matching.patterns);
        patterns.any(|pattern| loss.is_news(self.cursor.max(pattern.from), pattern.reported))
    }

    /// As [`is_forgotten`](Self::is_forgotten); a gap reports it.
    pub(super) fn find_forgotten(&self, found: &mut Found) -> bool {
        if self.matching.is_none() {
            return false;
        }
        let forgotten = self.log.forgotten();
        let is_unreported = self.is_unreported(forgotten);
        if is_unreported {
            found.add(forgotten, 0);
        }
        is_unreported
    }

    /// Whatever was lost after the cursor is reported from now on.
    pub(super) fn requires_forgotten(&mut self) {
        let patterns = self.matching.iter_mut().flat_map(|matching| &mut matching.patterns);
        patterns.for_each(|pattern| pattern.reported = 0);
    }

    /// As [`requires_losses`](Self::requires_losses), for what `pattern` selects.
    pub(super) fn require_matched(&mut self, pattern: &ChannelName) {
        let patterns = self.matching.iter_mut().flat_map(|matching| &mut matching.patterns);
        let Some(known) = patterns.into_iter().find(|known| known.name == *pattern) else { return };
        known.reported = 0;
        let selected = self.subscriptions.iter_mut().filter(|one| pattern.selects(&one.channel.name));
        selected.for_each(Subscription::require_losses);
    }
}

#[cfg(test)]
mod tests;
