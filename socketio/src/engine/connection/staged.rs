//! What was pulled from sources and is not yet given to the transport.

use std::{sync::Arc, vec};

use crate::{
    engine::outgoing::{Charge, Outgoing},
    stats::Counters,
};

/// Messages in their order. Those that nothing else refers to, such as long answers, count in the total until the last has been sent.
#[derive(Default)]
pub(super) struct Staged {
    messages: vec::IntoIter<Outgoing>,
    charge: Option<Charge>,
}

impl Staged {
    /// Appends what was pulled. There is something before it only while two transports are at it.
    pub(super) fn add(&mut self, batch: Vec<Outgoing>, counters: &Arc<Counters>) {
        let uncounted: usize = batch.iter().filter(|message| message.is_uncounted()).map(Outgoing::len).sum();
        let counted = self.charge.as_ref().map_or(0, Charge::bytes);
        if uncounted > 0 {
            self.charge = Some(Charge::new(counters, counted + uncounted));
        }
        let before = std::mem::take(&mut self.messages);
        self.messages =
            if before.len() == 0 { batch.into_iter() } else { before.chain(batch).collect::<Vec<_>>().into_iter() };
    }

    /// The next one. Most connections idle: an empty batch keeps no memory.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let message = self.messages.next()?;
        if self.is_empty() {
            *self = Self::default();
        }
        Some(message)
    }

    /// All of them, if they are several and each is shorter than `short` and none leaves apart.
    pub(super) fn take_short(&mut self, short: usize) -> Option<vec::IntoIter<Outgoing>> {
        let messages = self.messages.as_slice();
        let is_short =
            messages.len() > 1 && messages.iter().all(|message| message.len() < short && !message.is_apart());
        is_short.then(|| std::mem::take(self).messages)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.len() == 0
    }
}
