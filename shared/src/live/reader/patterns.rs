//! Subscriptions by a pattern: to all channels whose names begin alike, those that do not exist yet included.
//!
//! The log notes channels with new messages for each pattern ([`Noted`]). A reader adds them to its [`Backlog`] before it reads. Channels of
//! which it has read everything are in neither, so that its work depends on the channels that have something for it, however many match.

use std::{collections::HashSet, sync::Arc};

use super::{Reader, backlog::Backlog, subscriptions::Subscription};
use crate::{
    live::log::{Channel, Noted},
    pure::{ChannelName, Cursor},
};

/// The patterns of a reader.
#[derive(Default)]
pub(super) struct Matching {
    pub(super) patterns: Vec<Pattern>,
    pub(super) backlog: Backlog,
    /// What channels that are not known any more have lost up to here has been reported, or was never requested.
    reported_up_to: Cursor,
}

/// A pattern of a reader.
pub(super) struct Pattern {
    pub(super) name: ChannelName,
    pub(super) noted: Arc<Noted>,
    /// Messages up to here are not wanted, even if the reader's cursor is older.
    from: Cursor,
}

impl Matching {
    /// The position from which a pattern reads `channel`, if one does.
    fn position_of(&self, channel: &ChannelName) -> Option<Cursor> {
        self.patterns.iter().filter(|pattern| pattern.name.selects(channel)).map(|pattern| pattern.from).min()
    }
}

impl Reader {
    /// Subscribes to what `pattern` selects. Channels that have messages already are looked for, unless only later messages are wanted.
    pub(super) fn add_pattern(&mut self, pattern: &ChannelName, from: Cursor, has_earlier: bool) {
        if self.reads_pattern(pattern) {
            return;
        }
        // Noted first: what is published meanwhile is found twice, and not missed.
        let noted = self.log.note_pattern(pattern, &self.waiter);
        let forgotten = self.log.forgotten();
        let matching = self.matching.get_or_insert_default();
        if matching.patterns.is_empty() {
            matching.reported_up_to = forgotten;
        }
        matching.patterns.push(Pattern { name: pattern.clone(), noted, from });
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

    /// The position from which a pattern reads `channel`, if one does, and up to where its losses were reported. The channel is read by
    /// its name from now on.
    pub(super) fn take_matched(&mut self, channel: &ChannelName) -> Option<(Cursor, Option<Cursor>)> {
        let from = self.matching.as_ref()?.position_of(channel)?;
        let mut reported = None::<Cursor>;
        // A channel that was forgotten and created again may have been noted as both.
        self.subscriptions.retain(|matched| {
            let is_it = matched.channel.name == *channel;
            if is_it {
                reported =
                    Some(reported.map_or(matched.reported_loss_up_to, |other| other.min(matched.reported_loss_up_to)));
            }
            !is_it
        });
        let is_unread = self.matching.as_mut()?.backlog.retain(|name| name != channel);
        Some((from, if is_unread { Some(Cursor::ZERO) } else { reported }))
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
                // What it dropped after the reader's cursor is lost: it had been noted.
                let (reported_loss_up_to, ends_after) = (Cursor::ZERO, Cursor::MAX);
                self.subscriptions.push(Subscription { channel, key: None, from, reported_loss_up_to, ends_after });
            }
        }
    }

    /// Whether a channel that the log does not know any more may have lost messages after the cursor, which is not reported yet.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten().is_some()
    }

    /// Up to where such channels may have lost messages, if that is not reported yet.
    fn forgotten(&self) -> Option<Cursor> {
        let matching = self.matching.as_ref()?;
        let from = matching.patterns.iter().map(|pattern| pattern.from).min().unwrap_or_default();
        let reported = self.cursor.max(from).max(matching.reported_up_to);
        Some(self.log.forgotten()).filter(|forgotten| *forgotten > reported)
    }

    /// As [`is_forgotten`](Self::is_forgotten); it is being reported by a read up to `head`.
    pub(super) fn take_forgotten(&mut self, head: Cursor) -> bool {
        let forgotten = self.forgotten();
        if let (Some(matching), Some(forgotten)) = (&mut self.matching, forgotten) {
            matching.reported_up_to = matching.reported_up_to.max(forgotten.min(head));
        }
        forgotten.is_some()
    }

    /// Up to where the losses of such channels have been reported.
    pub(super) fn reported_forgotten(&self) -> Option<Cursor> {
        self.matching.as_ref().map(|matching| matching.reported_up_to)
    }

    /// Whatever was lost after the cursor is reported from now on.
    pub(super) fn requires_forgotten(&mut self) {
        if let Some(matching) = &mut self.matching {
            matching.reported_up_to = Cursor::ZERO;
        }
    }

    /// As [`requires_forgotten`](Self::requires_forgotten), for what `pattern` selects.
    pub(super) fn require_matched(&mut self, pattern: &ChannelName) {
        if self.reads_pattern(pattern) {
            self.requires_losses();
        }
    }
}

#[cfg(test)]
mod tests;
