//! Any bytes through all that reads what comes from Redis, for tests that know nothing of what is in them.

use socketio::adapter::Broadcast;

use super::{Budget, event, request, response};

/// Reads `message` as an event, a request and an answer of `namespace`, each of at most `values` values. Returns an event as this server
/// would send it.
#[doc(hidden)]
#[must_use]
pub fn rewrite(message: &[u8], namespace: &str, values: usize) -> Option<Vec<u8>> {
    let budget = Budget::new(values);
    let _ = request::decode(message, namespace, budget);
    if let Ok(response) = response::decode(message, budget) {
        let _ = (response.sockets(), response.rooms(), response.client_count(), response.ack(), response.data());
    }
    let event::Event { packet, to, volatile } = event::decode(message, namespace, budget).ok()??;
    event::encode(&event::prefix("me"), &Broadcast { packet, to, volatile, local: false }).ok()
}
