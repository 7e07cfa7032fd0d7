//! One response without end: server-sent events, or lines of JSON.

use super::{Fault, Site, Transport, get};
use crate::{
    peer::Peer,
    stamp::{Scanner, Stamp},
    wire::http::{Decoder, Piece},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Stream {
    transport: Transport,
    site: Site,
    http: Decoder,
    scanner: Scanner,
    is_ready: bool,
}

impl Stream {
    pub(super) fn new(transport: Transport, site: Site) -> Self {
        Self { transport, site, http: Decoder::default(), scanner: Scanner::default(), is_ready: false }
    }

    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        let Self { site, .. } = self;
        if self.transport == Transport::Sse {
            let target = site.peer.events(site.channel());
            let since = site.since.map(|since| format!("&since={since}")).unwrap_or_default();
            get(out, &site.host, format_args!("{target}{since}"), "Accept: text/event-stream\r\n");
        } else if site.peer == Peer::Nchan {
            get(out, &site.host, format_args!("/stream?channel={}", site.channel()), "TE: chunked\r\n");
        } else {
            get(out, &site.host, format_args!("/data?mode=stream&channel={}", site.channel()), "");
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], heard: &mut dyn FnMut(Stamp)) -> Result<(), Fault> {
        while let Some(piece) = self.http.next(&mut bytes)? {
            match piece {
                // The subscription is active when its answer begins.
                Piece::Head(200) => self.is_ready = true,
                Piece::Head(status) => return Err(Fault::Status(status, "a stream")),
                Piece::Body(body) => self.scanner.feed(body, heard),
                Piece::End => return Err(Fault::Closed),
            }
        }
        Ok(())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }
}
