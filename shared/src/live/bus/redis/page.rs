//! How many entries of a stream are requested at a time.

/// Maximum number of entries in a page.
const MAX_PAGE: usize = 512;
/// The approximate size of a page in bytes, assuming the size of recent entries. At most [`MAX_PAGE`] times the largest entry.
const PAGE_BYTES: usize = 1024 * 1024;
/// Entries in the first page, when their size is unknown.
pub(super) const FIRST_PAGE: usize = 16;
/// The number of entries to request after a page of `entries` entries and `bytes` bytes, which had requested `page`.
pub(super) fn next_page(page: usize, entries: usize, bytes: usize) -> usize {
    if entries == 0 {
        return page;
    }
    let fitting = PAGE_BYTES / (bytes / entries).max(1);
    fitting.clamp(1, MAX_PAGE).min(page * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 8.1: pages are measured in bytes, not in entries.
    #[test]
    fn pages_are_as_large_as_their_bytes_allow() {
        let mut page = FIRST_PAGE;
        for _ in 0..6 {
            page = next_page(page, page, page * 100);
        }
        assert_eq!(page, MAX_PAGE, "small entries come many at a time");
        assert_eq!(next_page(page, page, page * 64 * 1024), 16, "large ones few");
        assert_eq!(next_page(16, 16, 16 * 4 * PAGE_BYTES), 1, "and the largest alone");
        assert_eq!(next_page(1, 1, 100), 2, "it grows step by step");
        assert_eq!(next_page(7, 0, 0), 7, "nothing says nothing");
    }
}
