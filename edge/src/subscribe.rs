//! A subscription in a request: channels, and the cursor to begin after.

use std::{fmt, sync::Arc};

use shared::{
    live::{log::Opener, reader::Reader},
    pure::{ChannelName, NameError, Since},
};

use super::{
    Access, ApiError,
    auth::Identity,
    calls::PermissionCall,
    query::{Parameter, Query},
    service::Service,
};

/// Maximum number of channels of one subscription.
pub const MAX_CHANNELS: usize = 128;
/// Maximum number of patterns that all connections of a process read: every publication is compared with each of them.
const MAX_PATTERNS: usize = 64;
/// The parameter that names a channel.
pub const CHANNEL: Parameter = Parameter::repeated("channel", MAX_CHANNELS);
/// The parameter with the cursor.
pub const SINCE: Parameter = Parameter::once("since");

/// A subscription that its client may have.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// At least one.
    pub channels: Vec<ChannelName>,
    /// Where to begin.
    pub since: Since,
    /// The opener for channels that exist because of this subscription.
    identity: Identity,
    /// What the backend is asked before it begins.
    permission: Option<Box<PermissionRequest>>,
}

/// Channels about which the backend decides.
#[derive(Clone, Debug)]
struct PermissionRequest {
    access: Access,
    channels: Vec<ChannelName>,
    is_poll: bool,
}

impl PermissionRequest {
    async fn permission(&self, service: &Service) -> Result<(), ApiError> {
        let Self { access, channels, is_poll } = self;
        if *is_poll {
            PermissionCall::subscribe_poll(&service.edge, access, channels).await
        } else {
            PermissionCall::subscribe(&service.edge, access, channels).await
        }
    }
}

impl Subscription {
    /// Parses `channel` (`otherwise` is the default) and `since` of the query and checks the permissions. A backend may name a pattern.
    ///
    /// # Errors
    /// 400 for an invalid name or cursor, or a pattern of another client; 401 or 403 for a channel that the client may not read.
    pub fn read(query: &Query<'_>, access: &Access, otherwise: &str) -> Result<Self, ApiError> {
        let mut channels = selectors(query)?;
        if channels.is_empty() {
            channels.push(otherwise.parse().map_err(ApiError::internal)?);
        }
        // First: it does not depend on who asks.
        let since = query.get(SINCE.name).map_or(Ok(Since::Now), str::parse).map_err(bad_cursor)?;
        let undecided = access.require_subscribe_all(&channels)?;
        let ask = |channels| Box::new(PermissionRequest { access: access.clone(), channels, is_poll: false });
        let permission = Some(undecided).filter(|channels| !channels.is_empty()).map(ask);
        Ok(Self { channels, since, identity: access.identity(), permission })
    }

    /// One channel, which the client may read, from `since` on.
    ///
    /// # Errors
    /// 401 or 403 for a channel that the client may not read.
    pub fn to(channel: ChannelName, since: Since, access: &Access) -> Result<Self, ApiError> {
        let channels = vec![channel];
        let undecided = access.require_subscribe_all(&channels)?;
        let ask = |channels| Box::new(PermissionRequest { access: access.clone(), channels, is_poll: false });
        let permission = Some(undecided).filter(|channels| !channels.is_empty()).map(ask);
        Ok(Self { channels, since, identity: access.identity(), permission })
    }

    /// One channel that anybody may read, from `since` on.
    #[must_use]
    pub fn open_to_all(channel: ChannelName, since: Since, access: &Access) -> Self {
        Self { channels: vec![channel], since, identity: access.identity(), permission: None }
    }

    /// The client polls: the backend is not asked at each poll.
    pub fn is_poll(&mut self) {
        if let Some(permission) = &mut self.permission {
            permission.is_poll = true;
        }
    }

    /// Asks the application now, if it decides. [`open`](Self::open) does not ask again.
    ///
    /// # Errors
    /// As [`PermissionCall::subscribe`].
    pub async fn permit(&mut self, service: &Service) -> Result<(), ApiError> {
        match self.permission.take() {
            // In a box: every request would have its room, and most ask nobody.
            Some(request) => Box::pin(async move { request.permission(service).await }).await,
            None => Ok(()),
        }
    }

    /// A reader on this process's log; waits for the log if another process is ahead, and for the application if that decides.
    ///
    /// # Errors
    /// As [`require_room`], and as [`PermissionCall::subscribe`].
    pub async fn open(&self, service: &Service) -> Result<Reader, ApiError> {
        if let Some(request) = self.permission.as_deref() {
            // In a box: every request would have its room, and most ask nobody.
            Box::pin(request.permission(service)).await?;
        }
        if let Since::After(cursor) = self.since
            && self.since != Since::UNKNOWN
        {
            service.bus.wait_for(cursor).await;
        }
        let opener = require_room(service, &self.identity, &self.channels)?;
        Ok(Reader::open_for(service.log(), &self.channels, self.since, opener))
    }
}

/// Whether `identity` can read `channels` here. Returns the counter for [`Reader::open_for`] if some of them are new.
///
/// # Errors
/// 429 when the client has opened too many channels without messages, 503 when all clients have, or when they read too many patterns; counted.
pub fn require_room(
    service: &Service,
    identity: &Identity,
    channels: &[ChannelName],
) -> Result<Option<Arc<Opener>>, ApiError> {
    let patterns = channels.iter().filter(|channel| channel.is_pattern()).count();
    if patterns > 0 && service.log().patterns() + patterns > MAX_PATTERNS {
        service.edge.metrics.refusals.channels.inc();
        let message = format!("this server has {MAX_PATTERNS} subscriptions to patterns at most; retry later");
        return Err(ApiError::unavailable("too_many_channels", message));
    }
    let vacancy = service.log().vacancy(channels);
    // Most requests are for channels that are read or published already.
    if vacancy.new == 0 {
        return Ok(None);
    }
    Ok(Some(service.edge.limits.open_channels(identity, vacancy)?))
}

/// The channels in a query, each once.
///
/// # Errors
/// 400 for an invalid name.
pub fn channels(query: &Query<'_>) -> Result<Vec<ChannelName>, ApiError> {
    each_once(query, str::parse)
}

/// The channels and patterns in a query, each once. Whether the client may use patterns is not checked.
///
/// # Errors
/// 400 for an invalid name.
pub fn selectors(query: &Query<'_>) -> Result<Vec<ChannelName>, ApiError> {
    each_once(query, ChannelName::selector)
}

fn each_once(
    query: &Query<'_>,
    read: impl Fn(&str) -> Result<ChannelName, NameError>,
) -> Result<Vec<ChannelName>, ApiError> {
    let mut channels = Vec::new();
    for name in query.all(CHANNEL.name) {
        let channel = read(name).map_err(|error| ApiError::invalid("bad_channel", error))?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

/// The starting position for the last id that a client has received (WHATWG HTML, "the `Last-Event-ID` header"), in terms of `since`.
///
/// A browser sends the id automatically, and never reconnects after an error. An id of another server is therefore not an error: `since`
/// applies if the client sent it, and otherwise the position is [unknown](Since::UNKNOWN).
#[must_use]
pub fn since_last_event(id: Option<&str>, since: Since) -> Since {
    match id.and_then(|id| id.trim().parse().ok()) {
        Some(known) => known,
        None if since == Since::Now => Since::UNKNOWN,
        None => since,
    }
}

fn bad_cursor(error: impl fmt::Display) -> ApiError {
    ApiError::invalid("bad_cursor", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::pure::Cursor;

    /// Case 4.1: an id of another server is never an error, and `since` applies if the client sent it.
    #[test]
    fn a_foreign_last_event_id_is_an_unknown_place() {
        let cursor = Since::After(Cursor::new(5, 1));
        for foreign in ["42", "0", "1763800000000", "urn:uuid:5b1d8b4e", "5-", "-1", "5-1-2", "ü"] {
            assert_eq!(since_last_event(Some(foreign), Since::Now), Since::UNKNOWN, "{foreign}");
            assert_eq!(since_last_event(Some(foreign), Since::Earliest), Since::Earliest, "{foreign}");
            assert_eq!(since_last_event(Some(foreign), cursor), cursor, "{foreign}");
        }
        assert_eq!(since_last_event(None, Since::Now), Since::UNKNOWN, "it is no text");
        assert_eq!(since_last_event(Some(" 5-1 "), Since::Earliest), cursor);
        assert_eq!(since_last_event(Some("earliest"), cursor), Since::Earliest);
    }
}
