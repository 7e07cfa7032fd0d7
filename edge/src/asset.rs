//! Bytes that never change, served from memory in the smallest form that a client accepts.
//!
//! [`encoding`] reads from a request which form that is, and [`body`] gives it. A form is made at the first request for it.

use std::{io::Write as _, iter, sync::OnceLock};

use actix_web::{
    HttpRequest,
    http::header::{self, AcceptEncoding, Header as _},
    web,
};
use bytes::Bytes;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    /// `gzip`
    Gzip,
    /// `br`
    Brotli,
}

impl Encoding {
    /// The value of `Content-Encoding`; `None` for what is not compressed.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

/// The smallest form that `Accept-Encoding` allows (RFC 9110 §12.5.3). Weights other than 0 do not count: browsers send none.
pub(crate) fn encoding(request: &HttpRequest) -> Encoding {
    let Ok(accepted) = AcceptEncoding::parse(request) else { return Encoding::Identity };
    let accepts = |coding: header::Encoding| accepted.negotiate(iter::once(&coding)) == Some(coding.clone());
    if accepts(header::Encoding::brotli()) {
        Encoding::Brotli
    } else if accepts(header::Encoding::gzip()) {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// Bytes that are part of the binary, and their compressed forms once they were requested.
#[derive(Debug)]
pub(crate) struct Asset {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
    brotli: OnceLock<Bytes>,
}

impl Asset {
    pub(crate) const fn new(plain: &'static [u8]) -> Self {
        Self { plain: Bytes::from_static(plain), gzip: OnceLock::new(), brotli: OnceLock::new() }
    }

    /// Not compressed.
    pub(crate) const fn plain(&self) -> &Bytes {
        &self.plain
    }

    fn ready(&self, encoding: Encoding) -> Option<Bytes> {
        match encoding {
            Encoding::Identity => Some(self.plain.clone()),
            Encoding::Gzip => self.gzip.get().cloned(),
            Encoding::Brotli => self.brotli.get().cloned(),
        }
    }

    fn make(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Identity => self.plain.clone(),
            Encoding::Gzip => self.gzip.get_or_init(|| gzip(&self.plain)).clone(),
            Encoding::Brotli => self.brotli.get_or_init(|| brotli(&self.plain)).clone(),
        }
    }
}

/// The bytes in an encoding. The first request for it has them encoded, on a thread where that delays nothing else. `None` if that thread is
/// not available, as at the end of the process.
pub(crate) async fn body(asset: &'static Asset, encoding: Encoding) -> Option<Bytes> {
    match asset.ready(encoding) {
        Some(ready) => Some(ready),
        None => web::block(move || asset.make(encoding)).await.ok(),
    }
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(plain.len() / 3), flate2::Compression::best());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default().into()
}

fn brotli(plain: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(plain.len() / 3);
    let mut encoder = brotli::CompressorWriter::new(&mut out, 16 * 1024, 9, 22);
    let _ = encoder.write_all(plain);
    drop(encoder);
    out.into()
}

#[cfg(test)]
mod tests;
