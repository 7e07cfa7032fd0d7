//! One publication, after everything of the request is known to be valid: the client's rate, the permission of the backend, the bus.

use futures_util::future::Either;
use shared::{
    live::bus::{BusError, IdempotencyKey, Publication, Published},
    pure::{ChannelName, Draft, Message},
};

use super::refusal::refused;
use crate::{
    Access, ApiError,
    calls::PermissionCall,
    receiving::Share,
    service::Service,
    settings::CallKind,
    traces::{Span, SpanKind, TraceContext},
};

/// Publishes `drafts`, which are valid and which the client may publish. They came in `received` bytes, and `share` counts their memory. `trace` is what
/// the request belongs to.
///
/// # Errors
/// 429 or 413 beyond the client's rate, 503 when there is no memory or no bus, 422 for a key of other messages. Nothing was published,
/// except with `outcome_unknown`.
pub fn publish<'a>(
    service: &'a Service,
    access: &'a Access,
    drafts: Vec<Draft>,
    key: Option<IdempotencyKey>,
    received: usize,
    share: &'a mut Share,
    trace: Option<TraceContext>,
) -> impl Future<Output = Result<Published, ApiError>> + use<'a> {
    let attempt = Attempt { service, access, key, received };
    match service.edge.traces.root(trace) {
        None => Either::Left(attempt.run(drafts, share, None)),
        // In a box: every publication would have its room.
        trace => Either::Right(Box::pin(attempt.traced(drafts, share, trace))),
    }
}

/// A publication.
struct Attempt<'a> {
    service: &'a Service,
    access: &'a Access,
    key: Option<IdempotencyKey>,
    received: usize,
}

impl Attempt<'_> {
    async fn traced(
        self,
        drafts: Vec<Draft>,
        share: &mut Share,
        trace: Option<TraceContext>,
    ) -> Result<Published, ApiError> {
        let traces = &self.service.edge.traces;
        let mut span = traces.begin(trace, "publish", SpanKind::Server);
        if let Some(span) = &mut span {
            let channel = drafts.first().map(|draft| draft.channel.to_string()).unwrap_or_default();
            span.set("messaging.system", "trident");
            span.set("messaging.destination.name", channel);
            span.set("messaging.batch.message_count", drafts.len() as u64);
        }
        let within = span.as_ref().map(Span::context).or(trace);
        let result = self.run(drafts, share, within.map(Box::new)).await;
        if let (Some(span), Err(error)) = (&mut span, &result) {
            span.fail(error.code());
        }
        traces.end(span);
        result
    }

    async fn run(
        self,
        mut drafts: Vec<Draft>,
        share: &mut Share,
        trace: Option<Box<TraceContext>>,
    ) -> Result<Published, ApiError> {
        let Self { service, access, key, received } = self;
        let edge = &service.edge;
        let user = access.user();
        drafts.iter_mut().for_each(|draft| draft.user.clone_from(&user));
        edge.limits.publish(&access.identity(), drafts.len())?;
        // Short lines take more memory as messages than as text.
        let messages: usize = drafts.iter().map(|draft| Message::OVERHEAD + draft.payload.len()).sum();
        share.set(received + messages).inspect_err(|_| {
            edge.metrics.refusals.receive_total.inc();
        })?;
        let count = drafts.len();
        let mut original = None;
        if let Some(call) = PermissionCall::new(edge, access, CallKind::Publish, received).map(Box::new) {
            // A repetition gets the first answer, and nobody is asked again. In boxes: every publication would have their room.
            if let Some(first) = Box::pin(answered(service, key.as_ref(), &drafts)).await? {
                edge.metrics.repeats.inc();
                return Ok(first);
            }
            original = key.is_some().then(|| drafts.clone());
            Box::pin(call.under(trace.as_deref().copied()).publish(&mut drafts)).await?;
        }
        let publication = Publication { key, original, ..Publication::new(drafts) };
        let published = match trace {
            None => service.bus.publish(publication).await,
            Some(trace) => Box::pin(watched(service, publication, *trace)).await,
        };
        let published = published.map_err(|error| refused(service, error))?;
        if published.is_repeat {
            edge.metrics.repeats.inc();
        } else {
            edge.metrics.publishes.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(published)
    }
}

/// Publishes as a part of a trace, which gets the deliveries of the messages, too.
async fn watched(service: &Service, publication: Publication, trace: TraceContext) -> Result<Published, BusError> {
    let traces = &service.edge.traces;
    let channels: Vec<ChannelName> = publication.drafts.iter().map(|draft| draft.channel.clone()).collect();
    let (expected, mut span) = (traces.expect(Some(trace)), traces.begin(Some(trace), "log", SpanKind::Internal));
    let published = service.bus.publish(publication).await;
    match (&published, &mut span) {
        (Ok(published), _) if published.is_repeat => {}
        (Ok(published), Some(span)) => {
            if let Some(first) = published.first() {
                span.set("messaging.message.id", first.to_string());
            }
            if let Some((trace, expected)) = expected {
                expected.published(trace, published.ids.iter().copied().zip(channels.iter().map(|one| one.as_str())));
            }
        }
        (Err(error), Some(span)) => span.fail(error.to_string()),
        (_, None) => {}
    }
    traces.end(span);
    published
}

/// The answer to an earlier publication of the same messages with this key.
async fn answered(
    service: &Service,
    key: Option<&IdempotencyKey>,
    drafts: &[Draft],
) -> Result<Option<Published>, ApiError> {
    let Some(key) = key else { return Ok(None) };
    service.bus.find(key, drafts).await.map_err(|error| refused(service, error))
}
