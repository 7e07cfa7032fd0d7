//! Which channels get messages, for those that do not read them.

use std::{future::poll_fn, sync::Arc, task::Poll};

use super::{Log, Noted, Waiter};
use crate::pure::ChannelName;

/// Names channels that have got messages. Created by [`Log::changes`].
pub struct Changes {
    noted: Arc<Noted>,
    waiter: Arc<Waiter>,
}

impl Log {
    /// Notes the channels of which `is_wanted` holds when they get messages, until the result is dropped. It is called under the lock of the log for each
    /// channel of a publication, so it has to be quick.
    pub fn changes(&self, is_wanted: impl Fn(&ChannelName) -> bool + Send + Sync + 'static) -> Changes {
        let waiter = Arc::<Waiter>::default();
        Changes { noted: self.note_wanted(Box::new(is_wanted), &waiter), waiter }
    }
}

impl Changes {
    /// Waits for channels that have got messages since the last call; `None` if they are too many to name them. No channel is missed if the future is
    /// dropped.
    pub async fn next(&self) -> Option<Vec<ChannelName>> {
        poll_fn(|cx| {
            self.waiter.waker.register(cx.waker());
            match self.noted.take() {
                Some(channels) if channels.is_empty() => Poll::Pending,
                found => Poll::Ready(found),
            }
        })
        .await
        .map(|channels| channels.iter().map(|channel| channel.name.clone()).collect())
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        live::log::Limits,
        pure::{Cursor, Draft, Payload},
    };

    #[tokio::test]
    async fn wanted_channels_are_named_once_until_they_are_too_many() {
        let log = Arc::new(Log::new(Limits::default(), Cursor::ZERO));
        let publish = |channel: &str| {
            let draft = Draft::new(channel.parse().unwrap(), Payload::from_text("x"));
            log.append(vec![draft], 1_000);
        };
        publish("a/0");
        let changes = log.changes(|name| name.starts_with("a/"));
        assert!(changes.next().now_or_never().is_none(), "what was there before is no change");
        let (named, ()) = tokio::join!(changes.next(), async { publish("a/1") });
        assert_eq!(named, Some(vec!["a/1".parse().unwrap()]));
        for channel in ["a/1", "b", "a/0", "a/1"] {
            publish(channel);
        }
        let mut named = changes.next().await.unwrap();
        named.sort_unstable();
        assert_eq!(named, ["a/0".parse().unwrap(), "a/1".parse().unwrap()]);
        (0..3_000).for_each(|n| publish(&format!("a/{n}")));
        assert_eq!(changes.next().await, None);
        assert!(changes.next().now_or_never().is_none());
    }
}
