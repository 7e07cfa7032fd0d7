//! Runs commands: what has to wait for the bus, apart from the connection.

use std::{sync::Arc, time::Duration};

use edge::{
    Access, ApiError,
    calls::PermissionCall,
    publish::{owned_key, publish},
    service::Service,
    subscribe::require_room,
};
use shared::{
    live::log::Opener,
    pure::{ChannelName, Cursor, Draft, Since},
};
use tokio::time::timeout;

use super::{command::Action, feed::Feed};

/// How long a subscription waits for a log that is being loaded.
const FILLED_WITHIN: Duration = Duration::from_secs(3);

/// A command that has waited for everything.
pub(super) enum Done {
    /// To be subscribed to now.
    Subscribe { channels: Vec<ChannelName>, since: Since, opener: Option<Arc<Opener>> },
    /// To be unsubscribed from now.
    Unsubscribe { channels: Vec<ChannelName> },
    /// Published, with this id.
    Published(Cursor),
}

/// Runs `action` for the client with `access`, whose connection reads `feed`.
///
/// # Errors
/// As the same request over HTTP.
pub(super) fn run(
    service: Service,
    access: Access,
    feed: &Feed,
    action: Action,
) -> impl Future<Output = Result<Done, ApiError>> + use<> {
    let asked = channels_to_ask(&access, feed, &action);
    run_permitted(service, access, asked, action)
}

/// The channels about which the application is asked before `action` runs. A repeated subscription without a cursor changes nothing, and
/// clients send one as a sign of life: the application is not asked about channels that the connection reads already.
fn channels_to_ask(access: &Access, feed: &Feed, action: &Action) -> Result<Vec<ChannelName>, ApiError> {
    let Action::Subscribe { channels, since } = action else { return Ok(Vec::new()) };
    let mut asked = access.require_subscribe_all(channels)?;
    if since.unwrap_or_default() == Since::Now {
        asked.retain(|channel| !feed.reads(channel));
    }
    Ok(asked)
}

/// As [`run`], once it is known which channels the application is asked about.
async fn run_permitted(
    service: Service,
    access: Access,
    asked: Result<Vec<ChannelName>, ApiError>,
    action: Action,
) -> Result<Done, ApiError> {
    let asked = asked?;
    match action {
        Action::Subscribe { channels, since } => {
            if !asked.is_empty() {
                PermissionCall::subscribe(&service.edge, &access, &asked).await?;
            }
            // Until then it is unknown where the log begins.
            timeout(FILLED_WITHIN, service.bus.filled()).await.map_err(|_| still_loading())?;
            let since = since.unwrap_or_default();
            if let Since::After(cursor) = since {
                service.bus.wait_for(cursor).await;
            }
            let opener = require_room(&service, &access.identity(), &channels)?;
            Ok(Done::Subscribe { channels, since, opener })
        }
        Action::Unsubscribe { channels } => Ok(Done::Unsubscribe { channels }),
        Action::Publish { draft, key } => publish_one(&service, &access, draft, key).await.map(Done::Published),
    }
}

async fn publish_one(
    service: &Service,
    access: &Access,
    draft: Draft,
    key: Option<String>,
) -> Result<Cursor, ApiError> {
    access.require_publish(&draft.channel)?;
    let key = key.map(|key| {
        owned_key(&key, access)
            .ok_or_else(|| ApiError::invalid("bad_idempotency_key", "`key` has 1 to 128 visible ASCII characters"))
    });
    let (key, received) = (key.transpose()?, draft.payload.len());
    let mut share = access.receiving();
    let published = publish(service, access, vec![draft], key, received, &mut share, None).await?;
    published.first().copied().ok_or_else(|| ApiError::internal("the bus returned no id"))
}

fn still_loading() -> ApiError {
    ApiError::unavailable("bus_unavailable", "this server is still loading the stored messages")
}
