//! How publications, and operations on streams, reach Redis.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    PUBLISH_TIMEOUT, RedisBus,
    publisher::{Job, Reply},
    streams::{self, CORRECTED_AT, Check, MAX_TRIES, Site, correct, overtaken, read_up_to, settle},
};
use crate::{
    live::{
        bus::{Bus as _, BusError, MAX_BYTES, MAX_MESSAGES, Publication, Published},
        log::{Admission, Staged},
    },
    pure::{
        ChannelName, Message, Payload,
        stream::{StreamOp, StreamReply},
    },
};

/// Limit of publications that wait for Redis, in KiB. Beyond, publishers wait, and are then rejected.
pub(super) const ROOM_KIB: usize = 32 * 1024;

impl RedisBus {
    fn site(&self) -> Site<'_> {
        Site { log: &self.log, shared: &self.shared }
    }

    /// Makes an operation on a stream, when there is space for it.
    pub(super) async fn change_stream(&self, op: StreamOp) -> Result<StreamReply, BusError> {
        self.ready()?;
        let payloads = match &op {
            StreamOp::Create(create) => &create.payloads[..],
            StreamOp::Append(append) => &append.payloads[..],
            StreamOp::Delete(_) => &[],
        };
        let bytes: usize = payloads.iter().map(Payload::len).sum();
        if payloads.len() > MAX_MESSAGES || bytes > MAX_BYTES {
            return Err(BusError::TooLarge);
        }
        let _permit =
            self.acquire_room(bytes + payloads.len() * Message::OVERHEAD, Instant::now() + PUBLISH_TIMEOUT).await?;
        streams::change(self.site(), &op).await
    }

    /// Waits until the log has what Redis has of the stream of `channel`.
    pub(super) async fn catch_up_stream(&self, channel: &ChannelName) -> Result<(), BusError> {
        self.ready()?;
        streams::catch_up(self.site(), channel).await
    }

    pub(super) async fn publish_within(&self, publication: Publication) -> Result<Published, BusError> {
        if publication.drafts.is_empty() {
            return Ok(Published::default());
        }
        let bytes: usize = publication.drafts.iter().map(|draft| draft.payload.len()).sum();
        if publication.drafts.len() > MAX_MESSAGES || bytes > MAX_BYTES {
            return Err(BusError::TooLarge);
        }
        self.shared.connection()?;
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        let mut publication = publication;
        for tries in 1..=MAX_TRIES {
            if tries == CORRECTED_AT {
                let checks = self.shared.streams.known.lock().checks(&publication.drafts);
                for check in checks {
                    correct(self.site(), &check.channel).await?;
                }
            }
            let checks = match self.admit(&publication).await? {
                Admitted::To(checks) => checks,
                Admitted::Found(published) => return Ok(published),
                Admitted::Again => continue,
            };
            let is_waited_for = !checks.is_empty();
            match self.send(publication, checks, deadline).await? {
                Reply::Published(published) => {
                    if let Some(last) = published.ids.last().filter(|_| is_waited_for) {
                        // If it is late, it is published all the same.
                        let _ = read_up_to(&self.shared, *last, deadline).await;
                    }
                    return Ok(published);
                }
                Reply::Changed(last, back) => {
                    publication = back;
                    read_up_to(&self.shared, last, deadline).await?;
                }
            }
        }
        Err(overtaken())
    }

    /// Whether the streams among the channels of a publication accept it.
    async fn admit(&self, publication: &Publication) -> Result<Admitted, BusError> {
        let site = self.site();
        let (checks, admitted) = {
            let known = self.shared.streams.known.lock();
            let checks = known.checks(&publication.drafts);
            if checks.is_empty() {
                return Ok(Admitted::To(checks));
            }
            let staged = Staged::at(self.log.head());
            (checks, self.log.admit_drafts(&publication.drafts, &staged, self.shared.now()))
        };
        match admitted {
            Ok(Admission::Admitted | Admission::Waits) => Ok(Admitted::To(checks)),
            Ok(Admission::Expired(name)) => settle(site, &name).await.map(|()| Admitted::Again),
            Err(refused) => {
                // What was published before is answered as then.
                if let Some(key) = &publication.key {
                    let original = publication.original.as_ref().unwrap_or(&publication.drafts);
                    if let Some(published) = self.find(key, original).await? {
                        return Ok(Admitted::Found(published));
                    }
                }
                match streams::are_current(site, &checks).await? {
                    true => Err(refused.into()),
                    false => Ok(Admitted::Again),
                }
            }
        }
    }

    /// Sends a publication to the publisher.
    async fn send(&self, publication: Publication, checks: Vec<Check>, deadline: Instant) -> Result<Reply, BusError> {
        let unavailable = |why: &str| BusError::Unavailable(why.into());
        let bytes = publication.drafts.iter().map(|draft| Message::OVERHEAD + draft.payload.len()).sum();
        let permit = self.acquire_room(bytes, deadline).await?;
        let (reply, mut replied) = oneshot::channel();
        let is_sent = Arc::new(AtomicBool::new(false));
        let job = Job { publication, checks, reply, is_sent: is_sent.clone(), _permit: permit };
        self.jobs.send(job).map_err(|_| unavailable("the connection to Redis has ended"))?;
        let why = match timeout_at(deadline, &mut replied).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(_)) => "the connection to Redis broke before its answer",
            Err(_) => {
                // In this order: what has not been sent by now will not be sent any more.
                replied.close();
                if let Ok(answer) = replied.try_recv() {
                    return answer;
                }
                "Redis did not answer in time"
            }
        };
        Err(if is_sent.load(Ordering::SeqCst) { BusError::Unknown(why.into()) } else { unavailable(why) })
    }

    /// Space for so many bytes, until what takes it is done.
    async fn acquire_room(&self, bytes: usize, deadline: Instant) -> Result<OwnedSemaphorePermit, BusError> {
        let wanted = u32::try_from(bytes.div_ceil(1024).min(ROOM_KIB)).unwrap_or(u32::MAX);
        let permit = timeout_at(deadline, self.room.clone().acquire_many_owned(wanted)).await;
        let full = || BusError::Unavailable("Redis cannot keep up: the publish queue is full".to_owned());
        permit.ok().and_then(Result::ok).ok_or_else(full)
    }
}

/// Whether something can be published.
enum Admitted {
    /// It can, if its streams are still so.
    To(Vec<Check>),
    /// It was published before.
    Found(Published),
    /// A stream has changed.
    Again,
}
