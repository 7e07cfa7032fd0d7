//! What the members of a cohort have in common, beside their channels: what they are sent for the same messages.

use std::{rc::Rc, time::Duration};

use actix_web::http::{StatusCode, header::HeaderMap};
use bytes::Bytes;
use shared::live::reader::Batch;

use super::super::{
    clock::Clock,
    outgoing::{Framing, Outgoing, Shape, Written, framed},
};
use crate::{Edge, layer, metrics::Transport, response::AnswerForm, stream::AnyForm};

/// See the module.
pub(super) struct Kind {
    pub(super) content: Content,
    /// Their clients may send something, which their bodies get.
    pub(super) is_tunnel: bool,
    pub(super) transport: Transport,
    /// The idle time after which a keep-alive is sent.
    pub(super) keep_alive: Duration,
}

/// What they are sent.
pub(super) enum Content {
    /// Parts of a body.
    Stream { form: Box<dyn AnyForm>, framing: Framing },
    /// A whole response.
    Answer(SharedAnswer),
}

/// A response that is the same for many requests.
pub(super) struct SharedAnswer {
    pub(super) form: Box<dyn AnswerForm>,
    pub(super) shape: Shape,
    /// The parts for CORS.
    pub(super) page: HeaderMap,
    pub(super) edge: Edge,
    pub(super) clock: Rc<Clock>,
}

impl SharedAnswer {
    /// The response, what follows it, and its status. `None` if it is too long for many at a time.
    pub(super) fn encode(&self, batch: &Batch) -> Option<(Vec<Bytes>, Written, StatusCode)> {
        let mut response = self.form.answer(batch)?;
        layer::complete(&self.edge, &self.page, &mut response);
        let status = response.status();
        let (bytes, written) = Outgoing::whole(response, self.shape, &self.clock)?;
        Some((bytes, written, status))
    }
}

impl Kind {
    /// Whether members of both are sent the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.content.is_same(&other.content)
            && self.is_tunnel == other.is_tunnel
            && self.transport == other.transport
            && self.keep_alive == other.keep_alive
    }

    /// Whether messages can be sent to all members as they are.
    pub(super) fn is_whole(&self, batch: &Batch) -> bool {
        match &self.content {
            Content::Stream { form, .. } => form.is_whole(batch),
            Content::Answer(_) => true,
        }
    }

    /// Messages as a part of a body, with its framing; nothing, if they are answers. If `is_newest`, nothing followed when they were read.
    pub(super) fn chunk(&self, batch: &Batch, is_newest: bool) -> Vec<Bytes> {
        match &self.content {
            Content::Stream { form, framing } => frame(*framing, form.chunk(batch, is_newest)),
            Content::Answer(_) => Vec::new(),
        }
    }

    /// This many messages were sent, each of them to one client, and bytes of them.
    pub(super) fn has_sent(&self, messages: u64, bytes: u64) {
        if let Content::Stream { form, .. } = &self.content {
            form.has_sent(messages, bytes);
        }
    }

    /// A keep-alive with its framing; nothing, if none is sent.
    pub(super) fn beat(&self) -> Vec<Bytes> {
        let Content::Stream { form, framing } = &self.content else { return Vec::new() };
        let bytes = form.keep_alive();
        if bytes.is_empty() { Vec::new() } else { frame(*framing, bytes) }
    }
}

impl Content {
    /// How the body of a stream is delimited.
    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::Stream { framing, .. } => *framing,
            Self::Answer(_) => Framing::Length,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stream { form, framing }, Self::Stream { form: other, framing: others }) => {
                framing == others && form.is_same(&**other)
            }
            (Self::Answer(one), Self::Answer(other)) => {
                one.shape == other.shape
                    && one.form.is_same(&*other.form)
                    && layer::is_same_page(&one.page, &other.page)
            }
            _ => false,
        }
    }
}

fn frame(framing: Framing, part: Bytes) -> Vec<Bytes> {
    if framing == Framing::Chunks { framed(part) } else { vec![part] }
}
