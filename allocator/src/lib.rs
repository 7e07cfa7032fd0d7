//! The memory allocator of the binaries: with the feature `jemalloc`, on Linux, jemalloc, which returns freed memory to the system. Otherwise
//! it is the system's own.
//!
//! Messages of many ages are next to each other in memory, so glibc's allocator returns next to nothing when some expire. jemalloc returns
//! it after about ten seconds, with threads of its own, so that an idle process returns it, too. A binary gets this allocator by `use
//! allocator as _`. See `docs/decisions/0009-jemalloc.md`.

#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
