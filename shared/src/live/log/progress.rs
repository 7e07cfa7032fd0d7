//! How far a log is: its head, where it begins, and whether it is a complete copy of the bus.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    task::Waker,
};

use super::{Log, Noted, Waiter, channel::wake};
use crate::pure::Cursor;

/// The position of the log, and which cursors it can check.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct State {
    /// Everything up to here is in its history.
    pub(in crate::live) head: Cursor,
    /// Before this cursor, the log does not know which messages existed.
    pub(in crate::live) floor: Cursor,
    /// The head at the time from which readers may see messages; `None` before.
    pub(in crate::live) start: Option<Cursor>,
    /// The number of probes of the bus that have begun.
    pub(super) probes_begun: u64,
    /// The last probe whose result the log has reached. `None`: no probes are needed, the log is the bus.
    pub(super) ended_probe: Option<u64>,
}

/// What a reader can see at one moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct Present {
    /// The newest id.
    pub(in crate::live) head: Cursor,
    /// The number of events by which something was lost.
    pub(in crate::live) losses: u64,
}

impl State {
    /// The probe that decides whether a cursor newer than the head belongs to another log.
    pub(in crate::live) fn next_probe(&self) -> u64 {
        // Not the one in progress: the cursor may be newer than its result.
        self.probes_begun + 1
    }

    /// Whether that probe has ended.
    pub(in crate::live) fn has_ended(&self, probe: u64) -> bool {
        self.ended_probe.is_none_or(|ended| ended >= probe)
    }
}

impl Log {
    /// The newest id: everything up to it can be read.
    pub fn head(&self) -> Cursor {
        self.state().head
    }

    /// Where a read begins.
    pub(in crate::live) fn present(&self) -> Present {
        // In this order: what is counted was lost up to this head.
        let losses = self.losses();
        Present { head: self.head(), losses }
    }

    /// The number of events by which something was lost so far.
    pub(in crate::live) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// The cursor before which the log does not know which messages existed.
    #[must_use]
    pub fn floor(&self) -> Cursor {
        self.state().floor
    }

    /// Whether readers can see the messages; before, they wait.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.state().start.is_some()
    }

    pub(in crate::live) fn state(&self) -> State {
        *self.state.lock()
    }

    /// Shows the log to its readers. Those without a cursor get the messages published after this moment; cursors older than `floor` get a
    /// gap.
    pub fn filled(&self, floor: Cursor) {
        let writer = self.writer.lock();
        let head = writer.last.max(floor);
        {
            let mut state = self.state.lock();
            state.floor = floor;
            state.head = head;
            state.start.get_or_insert(head);
        }
        let channels: Vec<_> = writer.channels.values().cloned().collect();
        let watching = Noted::wakers(&writer.watches);
        drop(writer);
        wake(&channels);
        watching.into_iter().for_each(Waker::wake);
    }

    /// Records that messages up to `last`, on any channel, may be lost, and continues after it: every reader with an older cursor gets a
    /// gap. Stored messages are kept and can still be read.
    ///
    /// Does nothing if `last` is not newer than the newest id.
    pub fn mark_lost_up_to(&self, last: Cursor) {
        let mut writer = self.writer.lock();
        if last <= writer.last {
            return;
        }
        writer.mark_lost_up_to(last);
        let channels: Vec<_> = writer.channels.values().cloned().collect();
        let watching = Noted::wakers(&writer.watches);
        self.publish_head(last);
        writer.show_losses();
        drop(writer);
        wake(&channels);
        watching.into_iter().for_each(Waker::wake);
    }

    /// Records that any channel may have lost messages up to `last`, which may be before the newest id. Stored messages are kept.
    pub(in crate::live) fn forget_up_to(&self, last: Cursor) {
        let mut writer = self.writer.lock();
        writer.forget_up_to(last);
        writer.show_losses();
    }

    /// Continues after `last`, if that is newer than the newest message that is here: messages up to it were removed before the log was filled.
    pub(in crate::live) fn continue_after(&self, last: Cursor) {
        let mut writer = self.writer.lock();
        if last > writer.last {
            writer.last = last;
            self.publish_head(last);
        }
    }

    /// Begins a probe of the bus's position. Its result is valid for all readers that exist already.
    pub fn begin_probe(&self) -> u64 {
        let mut state = self.state.lock();
        state.probes_begun += 1;
        state.probes_begun
    }

    /// The log has reached the position that the bus had at `probe`: a reader that was opened earlier with a cursor that is still newer has
    /// a cursor of another log.
    pub fn end_probe(&self, probe: u64) {
        {
            let mut state = self.state.lock();
            state.ended_probe = state.ended_probe.max(Some(probe));
        }
        self.wake_probe_waiters();
    }

    /// Wakes those that wait for a probe.
    pub(super) fn wake_probe_waiters(&self) {
        let probe_waiters = mem::take(&mut *self.probe_waiters.lock());
        for waiter in probe_waiters {
            // In this order: a reader that checks in between and has to wait again is added to the list again.
            waiter.waits_for_probe.store(false, Ordering::Release);
            waiter.waker.wake();
        }
    }

    /// Wakes `waiter` at the end of the next probe, or when the log is closed.
    pub(in crate::live) fn wait_for_probe(&self, waiter: &Arc<Waiter>) {
        if waiter.waits_for_probe.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut probe_waiters = self.probe_waiters.lock();
        if probe_waiters.len() == probe_waiters.capacity() {
            // The bus may be unavailable for a long time, while clients connect and disconnect: remove those of dropped readers.
            probe_waiters.retain(|waiter| Arc::strong_count(waiter) > 1);
        }
        probe_waiters.push(waiter.clone());
    }

    /// Advances the head. Readers of an unfilled log do not see it yet.
    pub(super) fn publish_head(&self, head: Cursor) {
        let mut state = self.state.lock();
        if state.start.is_some() {
            state.head = head;
        }
    }
}
