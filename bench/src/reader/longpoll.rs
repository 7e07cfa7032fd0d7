//! Comet: each answer's cursor goes into the next request, on the same connection. Trident's cursor is in the body, nchan's in the head, as
//! `Last-Modified` and `Etag`.

use super::{Fault, Site, get};
use crate::{
    peer::Peer,
    stamp::{Scanner, Stamp},
    wire::{
        Prefix,
        http::{Decoder, Piece},
    },
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Longpoll {
    site: Site,
    http: Decoder,
    scanner: Scanner,
    /// Of the body, as far as its cursor.
    body: Prefix<64>,
    is_ready: bool,
}

impl Longpoll {
    pub(super) fn new(site: Site) -> Self {
        let http = if site.peer == Peer::Nchan { Decoder::keeping() } else { Decoder::default() };
        Self { site, http, scanner: Scanner::default(), body: Prefix::default(), is_ready: false }
    }

    /// The first request does not wait: it is for the cursor from which on everything is to come.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        let channel = self.site.channel();
        match self.site.peer {
            Peer::Nchan => get(out, &self.site.host, format_args!("/longpoll?channel={channel}"), ""),
            _ => get(out, &self.site.host, format_args!("/data?mode=poll&format=batch&channel={channel}"), ""),
        }
    }

    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Stamp),
    ) -> Result<(), Fault> {
        while let Some(piece) = self.http.next(&mut bytes)? {
            match piece {
                Piece::Head(200) => self.body.clear(),
                Piece::Head(status) => return Err(Fault::Status(status, "a long poll")),
                Piece::Body(body) => {
                    self.body.extend(body);
                    self.scanner.feed(body, heard);
                }
                Piece::End if self.site.peer == Peer::Nchan => {
                    let place = self.http.field("Last-Modified").zip(self.http.field("Etag"));
                    let (time, tag) = place.ok_or(Fault::Refused("no Last-Modified and Etag"))?;
                    let headers = format!("If-Modified-Since: {time}\r\nIf-None-Match: {tag}\r\n");
                    let target = format_args!("/longpoll?channel={}", self.site.channel());
                    get(out, &self.site.host, target, &headers);
                    self.is_ready = true;
                }
                Piece::End => {
                    let cursor = self.body.quoted_after("\"cursor\":\"").ok_or(Fault::Refused("no cursor"))?;
                    let channel = self.site.channel();
                    let target = format_args!("/data?wait=60&limit=1000&channel={channel}&since={cursor}");
                    get(out, &self.site.host, target, "");
                    self.is_ready = true;
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }
}
