//! What a reader of a stream knows of its end.

use super::{Reader, Subscription};
use crate::pure::stream::Lifecycle;

impl Reader {
    /// The lifecycle of the stream that this reader's first channel is, or was last.
    #[must_use]
    pub fn lifecycle(&self) -> Option<Lifecycle> {
        self.subscriptions.first().and_then(|subscription| subscription.channel.lifecycle())
    }

    /// Whether all messages of its channels have been returned.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let newest = |subscription: &Subscription| subscription.channel.history.lock().newest().map(|newest| newest.id);
        let has_more = self.matching.as_ref().is_some_and(|matching| !matching.backlog.is_empty());
        self.is_resolved()
            && !has_more
            && self.subscriptions.iter().filter_map(newest).all(|newest| newest <= self.cursor)
    }
}
