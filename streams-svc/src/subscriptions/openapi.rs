//! What `/streams/__ds` says of itself, for docs/openapi.json; see [`edge::openapi`].

#![allow(dead_code, reason = "these functions and types are never used")]

use edge::openapi::{ErrorBody, Refused};
use utoipa::{IntoResponses, OpenApi, ToSchema};

/// The paths of subscriptions.
#[derive(OpenApi)]
#[openapi(
    paths(put, get, delete, add, remove, callback, claim, ack, release, keys),
    components(schemas(Subscription, SubscriptionLink, Wake, WakeStream, Acknowledgement))
)]
pub(crate) struct Subscriptions;

/// What a subscription is to be.
#[derive(ToSchema)]
struct SubscriptionConfig {
    /// How workers are woken.
    #[schema(rename = "type")]
    kind: Kind,
    /// The paths of streams: `*` is a segment, `**` any number of them.
    pattern: Option<String>,
    /// Other streams.
    streams: Option<Vec<String>>,
    webhook: Option<Webhook>,
    /// The stream with the wakes of `pull-wake`.
    wake_stream: Option<String>,
    /// How long a worker may take without a sign of life.
    #[schema(minimum = 1_000, maximum = 600_000)]
    lease_ttl_ms: Option<u64>,
    description: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum Kind {
    Webhook,
    PullWake,
}

/// Where wakes are posted to, and how they are signed.
#[derive(ToSchema)]
struct Webhook {
    /// `https`, to a public address.
    url: String,
    /// In answers.
    signing: Option<serde_json::Value>,
}

/// A subscription.
#[derive(ToSchema)]
struct Subscription {
    id: String,
    subscription_id: String,
    #[schema(rename = "type")]
    kind: Kind,
    pattern: Option<String>,
    streams: Vec<SubscriptionLink>,
    webhook: Option<Webhook>,
    wake_stream: Option<String>,
    lease_ttl_ms: u64,
    created_at: String,
    /// `failed` while a wake is sent again.
    status: Status,
    description: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Status {
    Active,
    Failed,
}

/// A stream of a subscription.
#[derive(ToSchema)]
struct SubscriptionLink {
    path: String,
    link_type: LinkType,
    /// What was processed; `-1` is nothing.
    acked_offset: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum LinkType {
    Glob,
    Explicit,
}

/// A stream of a subscription, for a worker.
#[derive(ToSchema)]
struct WakeStream {
    path: String,
    link_type: LinkType,
    acked_offset: String,
    tail_offset: String,
    has_pending: bool,
}

/// The wake that a worker has claimed.
#[derive(ToSchema)]
struct Wake {
    wake_id: String,
    generation: u64,
    /// For `ack` and `release`.
    token: String,
    streams: Vec<WakeStream>,
    lease_ttl_ms: u64,
}

/// What a worker has processed.
#[derive(ToSchema)]
struct Acknowledgement {
    wake_id: String,
    generation: u64,
    acks: Option<Vec<AckedOffset>>,
    /// Whether the worker has finished; otherwise it gets more time.
    done: Option<bool>,
}

#[derive(ToSchema)]
struct AckedOffset {
    stream: String,
    offset: String,
}

#[derive(ToSchema)]
struct Acknowledged {
    ok: bool,
    /// Whether there is something more, so that a wake follows.
    next_wake: bool,
}

#[derive(ToSchema)]
struct Streams {
    streams: Vec<String>,
}

#[derive(ToSchema)]
struct Worker {
    /// Its name.
    #[schema(min_length = 1, max_length = 128)]
    worker: String,
}

/// What requests of a subscription can be answered.
#[derive(IntoResponses)]
enum NoSubscription {
    /// There is no such subscription, or it is another client's.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path has no meaning in the protocol.
    #[response(status = 501)]
    NotSupported(ErrorBody),
}

/// What a worker can be answered.
#[derive(IntoResponses)]
enum RefusedWorker {
    /// The wake is not the current one, another worker has it, there is nothing to do, or an offset is invalid.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Create a subscription to streams, or find the same one
#[utoipa::path(
    put,
    path = "/streams/__ds/subscriptions/{id}",
    tag = "streams",
    operation_id = "createSubscription",
    params(("id" = String, Path, description = "The id of the subscription")),
    request_body = SubscriptionConfig,
    responses(
        (status = 201, description = "It is new", body = Subscription),
        (status = 200, description = "There is the same one", body = Subscription),
        (status = 409, description = "There is another one with the id", body = ErrorBody),
        NoSubscription,
        Refused,
    ),
    security(("bearer" = []))
)]
fn put() {}

/// Describe a subscription
#[utoipa::path(
    get,
    path = "/streams/__ds/subscriptions/{id}",
    tag = "streams",
    operation_id = "readSubscription",
    params(("id" = String, Path, description = "The id of the subscription")),
    responses((status = 200, description = "The subscription", body = Subscription), NoSubscription, Refused),
    security(("bearer" = []))
)]
fn get() {}

/// Delete a subscription
#[utoipa::path(
    delete,
    path = "/streams/__ds/subscriptions/{id}",
    tag = "streams",
    operation_id = "deleteSubscription",
    params(("id" = String, Path, description = "The id of the subscription")),
    responses((status = 204, description = "The subscription does not exist any more"), NoSubscription, Refused),
    security(("bearer" = []))
)]
fn delete() {}

/// Add streams to a subscription
#[utoipa::path(
    post,
    path = "/streams/__ds/subscriptions/{id}/streams",
    tag = "streams",
    operation_id = "addSubscriptionStreams",
    params(("id" = String, Path, description = "The id of the subscription")),
    request_body = Streams,
    responses((status = 204, description = "It has them, from their ends on"), NoSubscription, Refused),
    security(("bearer" = []))
)]
fn add() {}

/// Remove a stream that was added to a subscription
#[utoipa::path(
    delete,
    path = "/streams/__ds/subscriptions/{id}/streams/{path}",
    tag = "streams",
    operation_id = "removeSubscriptionStream",
    params(
        ("id" = String, Path, description = "The id of the subscription"),
        ("path" = String, Path, description = "The path of the stream. Slashes need not be encoded.")
    ),
    responses((status = 204, description = "It was removed, unless the pattern selects it"), NoSubscription, Refused),
    security(("bearer" = []))
)]
fn remove() {}

/// Acknowledge streams, as the worker of a webhook
///
/// The bearer token is the `callback_token` of the wake.
#[utoipa::path(
    post,
    path = "/streams/__ds/subscriptions/{id}/callback",
    tag = "streams",
    operation_id = "callBack",
    params(("id" = String, Path, description = "The id of the subscription")),
    request_body = Acknowledgement,
    responses((status = 200, description = "They are acknowledged", body = Acknowledged), RefusedWorker, NoSubscription, Refused),
    security(("bearer" = []))
)]
fn callback() {}

/// Take the wake of a subscription, as a worker that was woken by its stream
#[utoipa::path(
    post,
    path = "/streams/__ds/subscriptions/{id}/claim",
    tag = "streams",
    operation_id = "claimWake",
    params(("id" = String, Path, description = "The id of the subscription")),
    request_body = Worker,
    responses((status = 200, description = "The worker has it", body = Wake), RefusedWorker, NoSubscription, Refused),
    security(("bearer" = []))
)]
fn claim() {}

/// Acknowledge streams, as the worker that has claimed the wake
///
/// The bearer token is the `token` of the claim.
#[utoipa::path(
    post,
    path = "/streams/__ds/subscriptions/{id}/ack",
    tag = "streams",
    operation_id = "acknowledge",
    params(("id" = String, Path, description = "The id of the subscription")),
    request_body = Acknowledgement,
    responses((status = 200, description = "They are acknowledged", body = Acknowledged), RefusedWorker, NoSubscription, Refused),
    security(("bearer" = []))
)]
fn ack() {}

/// Release the wake without an acknowledgement
#[utoipa::path(
    post,
    path = "/streams/__ds/subscriptions/{id}/release",
    tag = "streams",
    operation_id = "releaseWake",
    params(("id" = String, Path, description = "The id of the subscription")),
    request_body = Acknowledgement,
    responses((status = 204, description = "Another worker can have it"), RefusedWorker, NoSubscription, Refused),
    security(("bearer" = []))
)]
fn release() {}

/// Read the public key of the signatures of wakes
#[utoipa::path(
    get,
    path = "/streams/__ds/jwks.json",
    tag = "streams",
    operation_id = "readStreamKeys",
    responses(
        (status = 200, description = "A JWK Set (RFC 7517)", content_type = "application/jwk-set+json", body = serde_json::Value),
        (status = 503, description = "No process has the subscriptions at present", body = ErrorBody)
    ),
    security(())
)]
fn keys() {}
