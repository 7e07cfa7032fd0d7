//! Sends the same bytes to many sockets with one system call, by io_uring (Linux 5.6 and later, where the kernel allows it).
//!
//! `write(2)` enters the kernel once for each socket. [`Ring::send`] writes one entry for each socket into memory that it shares with the kernel,
//! and enters the kernel once for all of them. This is the only crate of the project with unsafe code.
//!
//! # Why it is sound
//! The kernel reads the bytes through a pointer, and uses descriptors by their number. Both are borrowed for the duration of [`Ring::send`], so
//! the kernel must be done with them when it returns. Each entry is a `send(2)` with `MSG_DONTWAIT`, for which the kernel sets its flag
//! `REQ_F_NOWAIT`: it completes such an entry while it submits it, with `EAGAIN` if the socket has no space, and keeps nothing for later. `send`
//! returns when it has the completion of each entry that it submitted. If the kernel refuses to go on, the ring is closed: entries that it has
//! not read are never read.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod linux;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub use linux::Ring;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
mod others;
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
pub use others::Ring;
