//! Socket.IO over HTTP long polling: one keep-alive connection on which a `GET` waits, and a `POST` goes in between when
//! there is something to say.

use std::io::Write as _;

use super::{Fault, Site, get};
use crate::{
    stamp::{Scanner, Stamp},
    wire::{
        Prefix,
        http::{Decoder, Piece},
        packet::{Packet, Packets},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The session is not there yet.
    Opening,
    Joining,
    Asking,
    Ready,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Polling {
    site: Site,
    phase: Phase,
    http: Decoder,
    packets: Packets,
    scanner: Scanner,
    /// Of the first body, as far as the session's id.
    body: Prefix<64>,
    sid: String,
    /// What is to be posted next.
    post: Option<String>,
    /// Whether the request in flight is a post, whose answer contains no packets.
    is_post: bool,
}

impl Polling {
    pub(super) fn new(site: Site) -> Self {
        Self {
            site,
            phase: Phase::Opening,
            http: Decoder::default(),
            packets: Packets::default(),
            scanner: Scanner::default(),
            body: Prefix::default(),
            sid: String::new(),
            post: None,
            is_post: false,
        }
    }

    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        get(out, &self.site.host, format_args!("/socket.io/?EIO=4&transport=polling"), "");
    }

    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Stamp),
    ) -> Result<(), Fault> {
        while let Some(piece) = self.http.next(&mut bytes)? {
            match piece {
                Piece::Head(200) => {}
                Piece::Head(status) => return Err(Fault::Status(status, "a poll")),
                Piece::Body(_) if self.is_post => {}
                Piece::Body(body) => {
                    if self.phase == Phase::Opening {
                        self.body.extend(body);
                    }
                    self.scanner.feed(body, heard);
                    let mut met = Met::default();
                    self.packets.feed_payload(body, &mut |packet| met.add(packet));
                    self.react(met)?;
                }
                Piece::End => {
                    let mut met = Met::default();
                    if !self.is_post {
                        self.packets.end(&mut |packet| met.add(packet));
                    }
                    self.react(met)?;
                    self.ask(out);
                }
            }
        }
        Ok(())
    }

    fn react(&mut self, met: Met) -> Result<(), Fault> {
        if let Some(fault) = met.fault {
            return Err(fault);
        }
        if met.is_open {
            let sid = self.body.quoted_after("\"sid\":\"").ok_or(Fault::Refused("no session"))?;
            self.sid = sid.to_owned();
            self.phase = Phase::Joining;
            self.say("40");
        }
        if met.is_connected {
            self.phase = Phase::Ready;
            if let Some(question) = self.site.subscription() {
                self.say(&question);
                self.phase = Phase::Asking;
            }
        }
        if met.is_acked && self.phase == Phase::Asking {
            self.phase = Phase::Ready;
        }
        if met.is_pinged {
            self.say("3");
        }
        Ok(())
    }

    /// Adds a packet to what is posted next.
    fn say(&mut self, packet: &str) {
        let post = self.post.get_or_insert_default();
        if !post.is_empty() {
            post.push('\u{1e}');
        }
        post.push_str(packet);
    }

    /// The next request: a post if there is one, else a poll.
    fn ask(&mut self, out: &mut Vec<u8>) {
        let (host, sid) = (&self.site.host, &self.sid);
        let post = self.post.take();
        self.is_post = post.is_some();
        match post {
            Some(body) => {
                let length = body.len();
                // A vector takes all that is written to it.
                let _ = write!(
                    out,
                    "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {host}\r\n\
                     Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
            None => get(out, host, format_args!("/socket.io/?EIO=4&transport=polling&sid={sid}"), ""),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }
}

/// What there was among some packets.
#[derive(Default)]
struct Met {
    is_open: bool,
    is_connected: bool,
    is_acked: bool,
    is_pinged: bool,
    fault: Option<Fault>,
}

impl Met {
    fn add(&mut self, packet: Packet) {
        match packet {
            Packet::Open => self.is_open = true,
            Packet::Connected => self.is_connected = true,
            Packet::Ack => self.is_acked = true,
            Packet::Ping => self.is_pinged = true,
            Packet::Refused => self.fault = Some(Fault::Refused("the namespace")),
            Packet::Close => self.fault = Some(Fault::Closed),
            Packet::Other => {}
        }
    }
}
