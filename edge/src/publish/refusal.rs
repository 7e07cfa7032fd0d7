//! What the bus has rejected, as clients are answered.

use shared::{live::bus::BusError, pure::stream::StreamError};

use crate::{ApiError, service::Service};

/// The answer to a request that the bus has rejected; counted.
pub fn refused(service: &Service, error: BusError) -> ApiError {
    let refusals = &service.edge.metrics.refusals;
    match error {
        BusError::Unavailable(_) | BusError::Directory(_) | BusError::StatesFull(_) => {
            refusals.bus_unavailable.inc();
            ApiError::unavailable("bus_unavailable", error)
        }
        BusError::DiskFull(_) => {
            refusals.disk_full.inc();
            ApiError::unavailable("disk_full", error)
        }
        BusError::Unknown(_) => {
            refusals.outcome_unknown.inc();
            ApiError::unavailable("outcome_unknown", error)
        }
        BusError::TooLarge => {
            refusals.body_size.inc();
            ApiError::BatchTooLarge(error.to_string())
        }
        BusError::Keys { retry_after } => {
            refusals.idempotency_keys.inc();
            // `Retry-After` has whole seconds; rounded down, the retry would be rejected again.
            let retry_after = retry_after.as_secs() + 1;
            ApiError::Unavailable { code: "too_many_keys", message: error.to_string(), retry_after }
        }
        // draft-ietf-httpapi-idempotency-key-header-07 §2.7.
        BusError::Unsupported(message) => ApiError::NotSupported(message),
        BusError::Stream(error) => refused_by_stream(service, error),
        BusError::Reused => ApiError::Unprocessable { code: "idempotency_key_reused", message: error.to_string() },
    }
}

/// The answer to a request that a stream does not accept.
fn refused_by_stream(service: &Service, error: StreamError) -> ApiError {
    let code = match error {
        StreamError::NotFound(_) | StreamError::NoSource(_) => return ApiError::missing("stream_not_found", error),
        StreamError::Gone(_) => return ApiError::gone("stream_deleted", error),
        StreamError::StaleEpoch { .. } => return ApiError::forbidden("stale_epoch", error),
        StreamError::EpochStart => return ApiError::invalid("bad_producer", error),
        StreamError::ForkOffset | StreamError::ForkSubOffset => return ApiError::invalid("bad_fork", error),
        StreamError::Full { .. } | StreamError::Share { .. } => {
            service.edge.metrics.refusals.stream_bytes.inc();
            return ApiError::unavailable("streams_full", error);
        }
        StreamError::Exists(_) => "stream_exists",
        StreamError::ChannelInUse(_) => "channel_in_use",
        StreamError::Closed { .. } => "stream_closed",
        StreamError::ContentType(_) => "stream_content_type",
        StreamError::Seq { .. } => "stream_seq",
        StreamError::SequenceGap { .. } => "sequence_gap",
        StreamError::TooManyProducers => "too_many_producers",
        StreamError::SourceGone(_) | StreamError::NameTaken(_) => "stream_deleted",
    };
    ApiError::conflict(code, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, settings::ServiceDefaults};

    #[actix_web::test]
    async fn rejections_of_the_bus_are_counted_by_reason() {
        let defaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        let settings = Settings::from_sources(&defaults, [], [("TRIDENT_BUS", "memory")]).unwrap();
        let service = Service::open(settings, &defaults).unwrap();
        let counts = || {
            let refusals = &service.edge.metrics.refusals;
            (refusals.bus_unavailable.get(), refusals.idempotency_keys.get())
        };
        assert_eq!(refused(&service, BusError::Unavailable("gone".into())).code(), "bus_unavailable");
        assert_eq!(counts(), (1, 0));
        assert_eq!(refused(&service, BusError::DiskFull("full".into())).code(), "disk_full");
        assert_eq!(service.edge.metrics.refusals.disk_full.get(), 1);
        assert_eq!(refused(&service, BusError::Unknown("cut".into())).code(), "outcome_unknown");
        assert_eq!(service.edge.metrics.refusals.outcome_unknown.get(), 1);
        assert_eq!(refused(&service, BusError::TooLarge).code(), "batch_too_large");
        let keys = BusError::Keys { retry_after: std::time::Duration::from_millis(7_500) };
        let refused_key = refused(&service, keys);
        assert_eq!(refused_key.code(), "too_many_keys");
        assert!(matches!(refused_key, ApiError::Unavailable { retry_after: 8, .. }), "{refused_key:?}");
        assert_eq!(counts(), (1, 1));
        assert_eq!(refused(&service, BusError::Unsupported("no".into())).code(), "not_supported");
        let full = BusError::Stream(StreamError::Full { limit: 1 });
        assert_eq!(refused(&service, full).code(), "streams_full");
        assert_eq!(service.edge.metrics.refusals.stream_bytes.get(), 1);
        assert_eq!(refused(&service, BusError::Reused).code(), "idempotency_key_reused");
        assert_eq!(counts(), (1, 1), "a mistake, and no load that was shed");
    }
}
