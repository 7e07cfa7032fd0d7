//! What a client wants to read, as it says so in a request: channels, and from where.

use std::{fmt, sync::Arc};

use shared::{
    live::{log::Opener, reader::Reader},
    pure::{ChannelName, NameError, Since},
};

use super::{
    Access, ApiError,
    auth::Identity,
    query::{Parameter, Query},
    service::Service,
};

/// Channels that one subscription may name.
pub const MOST_CHANNELS: usize = 128;
/// The parameter that names a channel.
pub const CHANNEL: Parameter = Parameter::repeated("channel", MOST_CHANNELS);
/// The parameter that says from where.
pub const SINCE: Parameter = Parameter::once("since");

/// A subscription that its asker may have.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// At least one.
    pub channels: Vec<ChannelName>,
    /// From where.
    pub since: Since,
    /// Whom channels count for that come to be because of it.
    identity: Identity,
}

impl Subscription {
    /// Reads `channel` (where there is none, `otherwise`) and `since` from the query and asks `access`.
    ///
    /// # Errors
    /// 400 for a name that is none or a cursor that is none; 401 or 403 for a channel that is not open to the asker.
    pub fn read(query: &Query<'_>, access: &Access, otherwise: &str) -> Result<Self, ApiError> {
        let mut channels = channels(query)?;
        if channels.is_empty() {
            channels.push(otherwise.parse().map_err(ApiError::internal)?);
        }
        for channel in &channels {
            access.require_subscribe(channel)?;
        }
        let since = query.get(SINCE.name).map_or(Ok(Since::Now), str::parse).map_err(bad_cursor)?;
        Ok(Self { channels, since, identity: access.identity() })
    }

    /// A reader on this process's log, which is waited for if another process has come further.
    ///
    /// # Errors
    /// As [`require_room`].
    pub async fn open(&self, service: &Service) -> Result<Reader, ApiError> {
        if let Since::After(cursor) = self.since
            && self.since != Since::UNKNOWN
        {
            service.bus.reach(cursor).await;
        }
        let opener = require_room(service, &self.identity, &self.channels)?;
        Ok(Reader::open_for(service.log(), &self.channels, self.since, opener))
    }
}

/// Whether `identity` can read `channels` here. Gives the count for [`Reader::open_for`] where some of them are new.
///
/// # Errors
/// 429 when the client has opened as many channels without messages as one may, 503 when all have; counted.
pub fn require_room(
    service: &Service,
    identity: &Identity,
    channels: &[ChannelName],
) -> Result<Option<Arc<Opener>>, ApiError> {
    let vacancy = service.log().vacancy(channels);
    // Most read what is read or published already.
    if vacancy.new == 0 {
        return Ok(None);
    }
    Ok(Some(service.edge.limits.open_channels(identity, vacancy)?))
}

/// The channels that a query names, each once.
///
/// # Errors
/// 400 for a name that is none.
pub fn channels(query: &Query<'_>) -> Result<Vec<ChannelName>, ApiError> {
    let mut channels = Vec::new();
    for name in query.all(CHANNEL.name) {
        let channel = name.parse().map_err(|error: NameError| ApiError::invalid("bad_channel", error))?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

/// From where, by the id that a client says it saw last (WHATWG HTML, "the `Last-Event-ID` header"): in the words of `since`.
///
/// A browser sends the id without its page's doing, and gives up for good on an error. So an id that another server gave out
/// is none: `since` applies where the client gave one, and otherwise the place is [unknown](Since::UNKNOWN).
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

    /// Case 4.1: an id that another server gave out is never an error, and `since` applies where it was given.
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
