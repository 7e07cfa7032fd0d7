//! The event set of the parked sockets: it reports those that received something, or whose client left.
//!
//! Nothing is reported when a socket becomes writable: a parked socket has nothing to write, and every acknowledgement would be an event.

use std::{
    io,
    os::fd::AsFd,
    task::{Context, Poll},
};

#[cfg(target_os = "linux")]
pub(super) use linux::Events;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;

    use rustix::{
        buffer::spare_capacity,
        event::{Timespec, epoll},
    };
    use tokio::io::{Interest, unix::AsyncFd};

    use super::*;

    /// The number of events that are taken at a time.
    const EVENTS: usize = 64;

    /// An epoll instance, which is itself in the event set of the runtime.
    pub(in super::super) struct Events(AsyncFd<OwnedFd>);

    impl Events {
        /// An empty set, within a runtime.
        ///
        /// # Errors
        /// When the process has no descriptor left.
        pub(in super::super) fn open() -> io::Result<Self> {
            let epoll: OwnedFd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "the other way is unsafe, and only a type that closes its descriptor needs it"
            )]
            let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
            Ok(Self(epoll))
        }

        /// Adds a socket, which is reported as `key`. It is in the set until it is closed or [removed](Self::remove).
        ///
        /// # Errors
        /// When the kernel has no memory for it.
        pub(in super::super) fn add(&self, socket: &impl AsFd, key: u32) -> io::Result<()> {
            let events = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            Ok(epoll::add(self.0.get_ref(), socket, epoll::EventData::new_u64(key.into()), events)?)
        }

        /// Removes a socket.
        pub(in super::super) fn remove(&self, socket: &impl AsFd) {
            // It can only fail for a socket that is not in the set.
            let _ = epoll::delete(self.0.get_ref(), socket);
        }

        /// Takes the keys of some sockets with events. If there are none, the task is woken when there are.
        pub(in super::super) fn poll_take(&self, cx: &mut Context<'_>, keys: &mut Vec<u32>) -> Poll<()> {
            const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
            let mut events: Vec<epoll::Event> = Vec::new();
            // An error means that the runtime ends.
            while let Poll::Ready(Ok(mut ready)) = self.0.poll_read_ready(cx) {
                events.reserve(EVENTS);
                match epoll::wait(self.0.get_ref(), spare_capacity(&mut events), Some(&AT_ONCE)) {
                    Ok(1..) => {
                        keys.extend(events.iter().filter_map(|event| u32::try_from({ event.data }.u64()).ok()));
                        return Poll::Ready(());
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    // Only an empty set is not ready any more: what is in it reports no second time that it is there.
                    Ok(_) | Err(_) => ready.clear_ready(),
                }
            }
            Poll::Pending
        }
    }
}

/// Systems without epoll do not park connections.
#[cfg(not(target_os = "linux"))]
pub(super) struct Events;

#[cfg(not(target_os = "linux"))]
impl Events {
    pub(super) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn add(&self, _: &impl AsFd, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn remove(&self, _: &impl AsFd) {}

    pub(super) fn poll_take(&self, _: &mut Context<'_>, _: &mut Vec<u32>) -> Poll<()> {
        Poll::Pending
    }
}
