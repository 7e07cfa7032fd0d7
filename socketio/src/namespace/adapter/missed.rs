//! What a restored socket is sent behind its CONNECT packet.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use crate::{EncodedPacket, Outgoing, Source};

/// The packets that a socket missed, pulled as its client takes them and before anything new.
#[derive(Default)]
pub struct Missed(Option<Box<dyn Source>>);

impl Missed {
    /// What the source gives, to its end.
    pub fn pulled(source: impl Source + 'static) -> Self {
        Self(Some(Box::new(source)))
    }

    /// The source, if anything was missed. It ends with an empty batch.
    pub(crate) fn into_source(self) -> Option<Box<dyn Source>> {
        self.0
    }
}

/// These packets.
impl From<Vec<EncodedPacket>> for Missed {
    fn from(packets: Vec<EncodedPacket>) -> Self {
        if packets.is_empty() { Self(None) } else { Self::pulled(Packets(packets.into())) }
    }
}

impl std::fmt::Debug for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Missed").field(&self.0.is_some()).finish()
    }
}

struct Packets(VecDeque<EncodedPacket>);

impl Source for Packets {
    fn poll_next(&mut self, _: &mut Context<'_>, budget: usize) -> Poll<Vec<Outgoing>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < budget
            && let Some(packet) = self.0.pop_front()
        {
            bytes += packet.size();
            batch.push(Outgoing::from(packet));
        }
        Poll::Ready(batch)
    }
}
