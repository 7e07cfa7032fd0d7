//! A namespace of this server, and whether its channels are subscribed to.

use std::sync::Arc;

use socketio::WeakNamespace;
use tokio::sync::watch;

use crate::channels::Channels;

/// A namespace of this server.
pub(crate) struct Node {
    pub(crate) namespace: WeakNamespace,
    pub(crate) channels: Channels,
    pub(crate) standing: watch::Sender<Standing>,
}

/// Whether a namespace's channels are subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not yet, or not again.
    Waiting,
    Subscribed,
    /// They never will be: the namespace has been closed.
    Closed,
}

impl Node {
    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.send_if_modified(|now| {
            let is_new = *now != Standing::Closed && *now != standing;
            if is_new {
                *now = standing;
            }
            is_new
        });
    }

    /// Waits until its channels are subscribed to. False if they never will be.
    pub(crate) async fn is_subscribed(&self) -> bool {
        let mut standing = self.standing.subscribe();
        let settled = standing.wait_for(|standing| *standing != Standing::Waiting).await;
        settled.is_ok_and(|standing| *standing == Standing::Subscribed)
    }
}

/// A namespace has been created or removed.
pub(crate) enum Change {
    Opened(Arc<Node>),
    Closed(Arc<Node>),
}
