//! The memory allocator of the binaries: jemalloc, which returns to the system what has become free.
//!
//! Messages of many ages lie next to each other, so that of the memory of expired ones glibc's allocator returns next to nothing.
//! jemalloc returns it after about ten seconds, by threads of its own, so that an idle process returns it, too. A binary gets this
//! allocator by `use allocator as _`. See `docs/decisions/0009-jemalloc.md`.

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
