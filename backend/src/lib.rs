//! `/v1`: what a backend may ask, and what it may do.
//!
//! A request has a token with the claim `trident.api` in `Authorization` ([`request`]). Reads look at the log ([`channels`], [`messages`],
//! [`stats`]) and at the registry of connections ([`connections`], [`presence`]), of this process and of all others on the bus ([`replicas`]).
//! Writes publish to a user ([`users`]), purge, disconnect, and revoke tokens ([`revocations`]); each passes [`written`]. Every service mounts
//! these routes, and they know nothing of a transport.

mod answering;
mod channels;
mod connections;
mod lag;
mod messages;
#[cfg(feature = "openapi")]
pub mod openapi;
mod presence;
mod replicas;
mod request;
mod revocations;
mod stats;
mod users;
mod written;

use edge::{
    routes::{Resource, Routes},
    service::Service,
};

use self::request::{delete, get, post};
pub use self::{answering::serve, replicas::ask_subscriptions};

/// The routes of `/v1`.
#[must_use]
pub fn routes(service: &Service) -> Routes {
    let resource = Resource::default;
    let list_channels =
        get(resource(), service, |service, request| async move { channels::list(&service, &request).await });
    let channel = get(resource(), service, |service, request| async move { channels::get(&service, &request).await });
    let history = get(resource(), service, |service, request| async move { messages::list(&service, &request).await });
    let history = delete(history, service, |service, request| async move { messages::purge(&service, &request).await });
    let present = get(resource(), service, |service, request| async move { presence::get(&service, &request).await });
    let list_connections =
        get(resource(), service, |service, request| async move { connections::list(&service, &request).await });
    let connection =
        delete(resource(), service, |service, request| async move { connections::end(&service, &request).await });
    let of_user =
        delete(resource(), service, |service, request| async move { connections::end_user(&service, &request).await });
    let revoke =
        post(
            resource(),
            service,
            |service, request, body| async move { revocations::add(&service, &request, &body).await },
        );
    let stats = get(resource(), service, |service, request| async move { stats::get(&service, &request).await });
    Routes::default()
        .resource("/v1/channels", list_channels)
        .resource("/v1/channels/{channel}", channel)
        .resource("/v1/channels/{channel}/messages", history)
        .resource("/v1/channels/{channel}/presence", present)
        .resource("/v1/connections", list_connections)
        .resource("/v1/connections/{id}", connection)
        .resource("/v1/users/{user}/connections", of_user)
        .resource("/v1/users/{user}/messages", users::resource(service))
        .resource("/v1/revocations", revoke)
        .resource("/v1/stats", stats)
}
