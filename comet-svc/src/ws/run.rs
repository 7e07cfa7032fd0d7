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

use super::command::Action;

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

/// Runs `action` for the client with `access`.
///
/// # Errors
/// As the same request over HTTP.
pub(super) async fn run(service: Service, access: Access, action: Action) -> Result<Done, ApiError> {
    match action {
        Action::Subscribe { channels, since } => {
            let asked = access.require_subscribe_all(&channels)?;
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
    let published = publish(service, access, vec![draft], key, received, &mut share).await?;
    published.first().copied().ok_or_else(|| ApiError::internal("the bus returned no id"))
}

fn still_loading() -> ApiError {
    ApiError::unavailable("bus_unavailable", "this server is still loading the stored messages")
}
