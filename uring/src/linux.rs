//! The ring of Linux: what is sent, in which order the results are, and what happens when the kernel fails.

use std::{
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use io_uring::{
    IoUring, Probe, opcode,
    squeue::{Entry, SubmissionQueue},
    types::Fd,
};
use rustix::net::SendFlags;

/// A ring, for the thread that opens it.
pub struct Ring {
    /// `None` after the kernel has failed.
    ring: Option<IoUring>,
    most: usize,
}

impl Ring {
    /// A ring with space for `most` sockets at a time (a power of two is used completely).
    ///
    /// # Errors
    /// When the kernel has no io_uring or does not allow it (`EPERM`: `kernel.io_uring_disabled`, or the profile of a container), or has no memory
    /// or no descriptor left.
    pub fn open(most: usize) -> io::Result<Self> {
        let entries = u32::try_from(most.next_power_of_two()).map_err(io::Error::other)?;
        // One thread submits: the kernel then needs no locks, and does no work for the ring in other system calls (Linux 6.1).
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun();
        let ring = match builder.build(entries) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::new(entries)?,
            ring => ring?,
        };
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut ring = ring;
        // A profile may allow the ring and not its use.
        push(&mut ring.submission(), &opcode::Nop::new().build());
        complete(&mut ring, 1, &mut [Ok(0)])?;
        Ok(Self { ring: Some(ring), most })
    }

    /// Sends `bytes` to each of `sockets` without waiting, and appends to `taken` how many bytes the kernel accepted for each, in order: 0 if the
    /// socket has no space. An error in `taken` means that the connection is lost. No signal is raised.
    ///
    /// # Errors
    /// When the kernel does not accept entries any more. Sockets that it did not serve have 0 in `taken`, and each further call fails, with
    /// nothing sent.
    pub fn send<'a>(
        &mut self,
        sockets: impl Iterator<Item = BorrowedFd<'a>>,
        bytes: &[u8],
        taken: &mut Vec<io::Result<usize>>,
    ) -> io::Result<()> {
        let mut sockets = sockets.peekable();
        let mut result = Ok(());
        loop {
            // Put back once all of its entries are complete: whatever happens before, what was not submitted never is.
            let Some(mut ring) = self.ring.take() else {
                taken.extend(sockets.map(|_| Ok(0)));
                return result.and(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let begin = taken.len();
            let queued = enqueue(&mut ring, sockets.by_ref().take(self.most), bytes, taken);
            match complete(&mut ring, queued, &mut taken[begin..]) {
                Ok(()) => self.ring = Some(ring),
                Err(error) => result = Err(error),
            }
            if sockets.peek().is_none() {
                return result;
            }
        }
    }
}

/// Writes an entry for each socket into the ring, and appends a result for each to `taken`. Returns the number of entries.
fn enqueue<'a>(
    ring: &mut IoUring,
    sockets: impl Iterator<Item = BorrowedFd<'a>>,
    bytes: &[u8],
    taken: &mut Vec<io::Result<usize>>,
) -> usize {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let flags = (SendFlags::DONTWAIT | SendFlags::NOSIGNAL).bits().cast_signed();
    let mut queue = ring.submission();
    let mut queued = 0;
    for (index, socket) in (0..).zip(sockets) {
        let send = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length).flags(flags);
        queued += usize::from(push(&mut queue, &send.build().user_data(index)));
        taken.push(Ok(0));
    }
    queued
}

/// Writes an entry into the ring. Returns whether there was space.
fn push(queue: &mut SubmissionQueue<'_>, entry: &Entry) -> bool {
    // SAFETY: what an entry of this module points to is borrowed until `Ring::send` returns, and the kernel does not use it after that: see the
    // documentation of the crate.
    unsafe { queue.push(entry) }.is_ok()
}

/// Submits the `queued` entries of the ring, and waits until each has its result in `taken`.
fn complete(ring: &mut IoUring, queued: usize, taken: &mut [io::Result<usize>]) -> io::Result<()> {
    let mut left = queued;
    while left > 0 {
        match ring.submit_and_wait(left) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        for entry in ring.completion() {
            let result = match entry.result() {
                accepted @ 0.. => Ok(usize::try_from(accepted).unwrap_or_default()),
                error => Err(io::Error::from_raw_os_error(-error)),
            };
            // Without space, or interrupted by a signal: nothing was accepted.
            let is_refused =
                |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            if let Some(slot) = usize::try_from(entry.user_data()).ok().and_then(|index| taken.get_mut(index)) {
                *slot = if result.as_ref().is_err_and(is_refused) { Ok(0) } else { result };
                left = left.saturating_sub(1);
            }
        }
    }
    Ok(())
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("is_open", &self.ring.is_some()).field("most", &self.most).finish()
    }
}
