//! The reader of the lower bound: sends one byte to subscribe, then receives messages unchanged.

use crate::stamp::{Scanner, Stamp};

/// What a reader says first.
pub(crate) const READER: u8 = b'R';
/// What the publisher says first.
pub(crate) const PUBLISHER: u8 = b'P';
/// What a publisher says first that waits for an answer to each of its messages.
pub(crate) const WAITING: u8 = b'W';
/// What the server answers to either.
pub(crate) const SEATED: u8 = b'.';

#[derive(Debug, Default)]
pub(crate) struct Bare {
    is_ready: bool,
    scanner: Scanner,
}

impl Bare {
    pub(super) fn feed(&mut self, bytes: &[u8], heard: &mut dyn FnMut(Stamp)) {
        self.is_ready = true;
        self.scanner.feed(bytes, heard);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }
}
