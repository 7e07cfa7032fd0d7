//! The limits of a process in one line.

use super::Settings;

impl Settings {
    /// The limits of connections and memory, and the memory from which defaults were computed, in one line for the log.
    #[must_use]
    pub fn limits(&self) -> String {
        let number = |limit: Option<usize>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        let size = |limit: Option<usize>| {
            limit.map_or_else(
                || "no limit".to_owned(),
                |limit| match limit >> 20 {
                    0 => format!("{} KiB", limit >> 10),
                    mib => format!("{mib} MiB"),
                },
            )
        };
        let memory = self.memory.map_or_else(|| "memory unknown".to_owned(), |memory| memory.to_string());
        format!(
            "limits: {} connections, {} of history, {} of encoded forms, {} of idempotency keys, {} of sessions, {} of \
             messages that wait for Socket.IO clients, {} of unread answers to polls, {} of requests in progress, {} of streams; {memory}",
            number(self.max_connections),
            size(self.history_total),
            size(self.encoded_total),
            size(self.idempotency_total),
            size(self.sessions_total),
            size(self.outbox_total),
            size(self.unread_total()),
            size(self.receive_total),
            size(self.streams.bytes),
        )
    }

    /// Bytes of memory for long answers to polls that their clients have not read.
    #[must_use]
    pub fn unread_total(&self) -> Option<usize> {
        self.outbox_total.map(|total| total / 4)
    }

    /// Bytes of memory for messages that the log has dropped, and that clients are being sent: a part of [`encoded_total`](Self::encoded_total).
    #[must_use]
    pub fn unstored_total(&self) -> Option<usize> {
        self.encoded_total.map(|total| total / 2)
    }

    /// Bytes of memory for answers of the application that are remembered for clients that poll.
    #[must_use]
    pub fn remembered_total(&self) -> usize {
        const MAX: usize = 64 << 20;
        self.receive_total.map_or(MAX, |total| total.min(MAX))
    }
}
