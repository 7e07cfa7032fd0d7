//! How a publication reaches the writer.

use std::{mem, time::Duration};

use tokio::{sync::oneshot, time::timeout};

use super::{
    FileBus,
    purge::Purge,
    queue::{Job, Reply},
};
use crate::{
    live::bus::{BusError, MAX_BYTES, MAX_MESSAGES, Publication, Published, StoredState, answers::Claim},
    pure::{ChannelName, Message},
};

/// Limit of publications that wait for the disk, in KiB. Beyond, publishers wait, and are then rejected.
pub(super) const ROOM_KIB: usize = 64 * 1024;
/// How long a publisher waits for space in the queue.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

impl FileBus {
    /// Publishes, when there is space in the queue.
    pub(super) async fn publish_within(&self, publication: Publication) -> Result<Published, BusError> {
        if publication.drafts.is_empty() && publication.states.is_empty() {
            return Ok(Published::default());
        }
        let mut publication = publication;
        let states = mem::take(&mut publication.states);
        let in_states = states.iter().map(|state| state.key.len() + state.value.as_ref().map_or(0, Vec::len));
        let bytes = in_states.chain(publication.drafts.iter().map(|draft| draft.payload.len())).sum();
        let count = publication.drafts.len();
        if count > MAX_MESSAGES || bytes > MAX_BYTES {
            return Err(BusError::TooLarge);
        }
        let (claim, drafts) = Claim::split(publication);
        let weight = bytes + (count + states.len()) * Message::OVERHEAD;
        self.write(weight, |reply| Job { drafts, states, claim, bytes, ..Job::new(reply) }).await
    }

    /// A purge of everything on `channel` that was acknowledged, and the states that change with it.
    pub(super) fn plan_purge(&self, channel: ChannelName) -> (Purge, Vec<StoredState>) {
        let head = self.log.head();
        // If it is known: a client that has received all messages of the channel has lost nothing.
        let newest = match self.log.newest_of_stream(&channel) {
            // A fork has copies with ids from before its creation.
            Some((newest, created)) => newest.max(Some(created)),
            None => self.log.channel_stats(&channel).newest.or_else(|| self.log.dropped(&channel)),
        };
        let purge = Purge { channel, up_to: newest.unwrap_or(head), at_ms: (self.clock)().time_ms };
        let states = purge.clone().changes(&self.states.lock());
        (purge, states)
    }

    /// Has the writer do a job of this many bytes of memory, when there is space in its queue.
    pub(super) async fn write(&self, weight: usize, job: impl FnOnce(Reply) -> Job) -> Result<Published, BusError> {
        if let Some(failure) = &*self.state.failure.borrow() {
            return Err(BusError::Unavailable(failure.clone()));
        }
        let wanted = weight.div_ceil(1024).min(ROOM_KIB);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let permit = match self.room.clone().try_acquire_many_owned(wanted) {
            Ok(permit) => permit,
            Err(_) => {
                let waited = timeout(ROOM_TIMEOUT, self.room.clone().acquire_many_owned(wanted)).await;
                let Ok(Ok(permit)) = waited else {
                    return Err(BusError::Unavailable("the disk cannot keep up: the publish queue is full".to_owned()));
                };
                permit
            }
        };
        let (reply, replied) = oneshot::channel();
        if !self.queue.push(Job { _permit: Some(permit), ..job(reply) }) {
            return Err(BusError::Unavailable("the process is ending".to_owned()));
        }
        // The writer took it, and may have written it.
        let lost = || BusError::Unknown("the writer of the log ended before it answered".to_owned());
        replied.await.unwrap_or_else(|_| Err(lost()))
    }
}
