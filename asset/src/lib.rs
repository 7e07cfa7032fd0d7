//! Bytes that never change, served from memory as each client likes them compressed.
//!
//! [`encoding`] reads from a request's headers which form its client likes best, [`none_match`] whether it has the bytes already,
//! and [`body`] gives the form, which the first to ask for it makes. Routing and the other headers are up to the server.

use std::{io::Write as _, ops::Deref, sync::OnceLock};

use actix_web::web;
use bytes::Bytes;

mod negotiate;

pub use negotiate::{Encoding, encoding, none_match};

/// Bytes, and their compressed forms once somebody asked for them.
#[derive(Debug)]
pub struct Asset {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
    brotli: OnceLock<Bytes>,
}

impl Asset {
    /// For what was read from somewhere.
    #[must_use]
    pub const fn new(plain: Bytes) -> Self {
        Self { plain, gzip: OnceLock::new(), brotli: OnceLock::new() }
    }

    /// For what is part of the binary.
    #[must_use]
    pub const fn embedded(plain: &'static [u8]) -> Self {
        Self::new(Bytes::from_static(plain))
    }

    /// As they are.
    #[must_use]
    pub const fn plain(&self) -> &Bytes {
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

/// The bytes in an encoding. The first caller has them encoded, on a thread where time does not matter. `None` if that thread is not
/// available, as at the end of the process.
pub async fn body(asset: impl Deref<Target = Asset> + Send + 'static, encoding: Encoding) -> Option<Bytes> {
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
