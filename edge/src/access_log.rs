//! The access log: one line for each request, written when its response has ended.
//!
//! The line has no query, because it may name private channels, and no header field: it never contains a token.

use std::{net::IpAddr, time::Instant};

use actix_web::http::{Method, StatusCode};

use super::{address, routes::RequestParts, settings::Settings};

/// The target of the lines, for `RUST_LOG=access=off` and for filters.
const TARGET: &str = "access";
/// Bytes of a path that are logged.
const MAX_PATH: usize = 256;

/// A request, whose line is written when this is dropped.
#[derive(Debug)]
pub(super) struct AccessRecord {
    method: Method,
    path: Box<str>,
    address: IpAddr,
    begun: Instant,
    status: Option<StatusCode>,
}

impl AccessRecord {
    /// The record of a request that arrives now; `None` without `TRIDENT_ACCESS_LOG`. In a box, because most servers have none.
    pub(super) fn begin(settings: &Settings, parts: &RequestParts<'_>) -> Option<Box<Self>> {
        settings.access_log.then(|| {
            Box::new(Self {
                method: parts.method.clone(),
                path: parts.path[..parts.path.floor_char_boundary(MAX_PATH)].into(),
                address: address::client(parts.peer, parts.headers, &settings.trusted_proxies),
                begun: Instant::now(),
                status: None,
            })
        })
    }

    /// The status of the response, whose body may still last.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let Self { method, path, address, begun, status } = self;
        let ms = begun.elapsed().as_millis() as u64;
        // A client may disconnect before there is a response.
        match status {
            Some(status) => {
                log::info!(target: TARGET, status = status.as_u16(), address:display, ms; "{method} {path}");
            }
            None => log::info!(target: TARGET, address:display, ms; "{method} {path} was aborted by the client"),
        }
    }
}
