//! What was pulled from sources and is not yet given to the transport.

use std::{sync::Arc, vec};

use crate::{
    engine::outgoing::{Charge, Outgoing},
    stats::Counters,
};

/// Messages in their order. Most connections idle, and none staged are one pointer.
#[derive(Default)]
pub(super) struct Staged(Option<Box<Batch>>);

#[derive(Default)]
struct Batch {
    messages: vec::IntoIter<Outgoing>,
    /// Messages that nothing else refers to, such as long answers, count in the total until the last has been sent.
    charge: Option<Charge>,
}

impl Staged {
    /// Appends what was pulled. There is something before it only while two transports are at it.
    pub(super) fn add(&mut self, pulled: Vec<Outgoing>, counters: &Arc<Counters>) {
        if pulled.is_empty() {
            return;
        }
        let batch = self.0.get_or_insert_default();
        let uncounted: usize = pulled.iter().filter(|message| message.is_uncounted()).map(Outgoing::len).sum();
        let counted = batch.charge.as_ref().map_or(0, Charge::bytes);
        if uncounted > 0 {
            batch.charge = Some(Charge::new(counters, counted + uncounted));
        }
        let before = std::mem::take(&mut batch.messages);
        batch.messages =
            if before.len() == 0 { pulled.into_iter() } else { before.chain(pulled).collect::<Vec<_>>().into_iter() };
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let messages = &mut self.0.as_mut()?.messages;
        let message = messages.next()?;
        if messages.len() == 0 {
            self.0 = None;
        }
        Some(message)
    }

    /// All of them, if they are several and each is shorter than `short` and none leaves apart.
    pub(super) fn take_short(&mut self, short: usize) -> Option<vec::IntoIter<Outgoing>> {
        let messages = self.0.as_ref()?.messages.as_slice();
        let is_short =
            messages.len() > 1 && messages.iter().all(|message| message.len() < short && !message.is_apart());
        if is_short { self.0.take().map(|batch| batch.messages) } else { None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
