//! Systems without io_uring, and processors that the crate io-uring does not know.

use std::{io, os::fd::BorrowedFd};

/// Does not exist on this system: [`open`](Self::open) fails.
#[derive(Debug)]
pub struct Ring(std::convert::Infallible);

impl Ring {
    /// Fails.
    ///
    /// # Errors
    /// Always `Unsupported`.
    pub fn open(_most: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called, since there is no ring.
    ///
    /// # Errors
    /// None.
    pub fn send<'a>(
        &mut self,
        _sockets: impl Iterator<Item = BorrowedFd<'a>>,
        _bytes: &[u8],
        _taken: &mut Vec<io::Result<usize>>,
    ) -> io::Result<()> {
        match self.0 {}
    }
}
