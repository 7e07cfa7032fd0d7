//! `POST`: appends to a stream, closes it, or both. `DELETE` deletes it.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use bytes::Bytes;
use edge::{
    ApiError,
    body::BodyReader,
    receiving::Share,
    response::ResponseBody,
    routes::{RequestBody, RequestParts, ResponseFuture},
    service::Service,
};
use shared::{
    live::bus::BusError,
    pure::{
        Payload,
        stream::{Append, MediaType, Outcome, Producer, StreamError, StreamOp},
    },
};

use crate::{
    body::{admit, payloads},
    create::MAX_BODY,
    fields::{self, PRODUCER_EPOCH, PRODUCER_SEQ, SEQ},
    info,
    refusal::{Refusal, respond},
    target::Target,
};

/// Appends to the stream of the path.
pub(crate) fn handler(service: &Service, parts: &RequestParts<'_>, body: RequestBody) -> ResponseFuture {
    let request = Request::read(service, parts);
    let (body, owner) = (BodyReader::new(parts.headers, body), service.clone());
    respond(service, parts, async move {
        let (service, request) = (owner, request?);
        let mut share = request.target.access.receiving();
        let body =
            body.read_up_to((MAX_BODY, service.edge.settings.streams.max_body), &service.edge, &mut share).await?;
        let payloads = match request.payloads(body, &service, &mut share) {
            Ok(payloads) => payloads,
            // First of all, whether there is such a stream, and whether it is closed (PROTOCOL.md of Durable Streams, §4.1).
            Err(error) => {
                let info = info::current(&service, &request.target.channel, false).await?;
                let closed: Option<Refusal> =
                    info.end.map(|_| BusError::Stream(StreamError::Closed { tail: info.tail }).into());
                return Err(closed.unwrap_or_else(|| error.into()));
            }
        };
        let Request { target: Target { access, channel }, content_type, seq, producer, is_closing } = request;
        service.edge.limits.publish(&access.identity(), payloads.len().max(1))?;
        let count = payloads.len();
        let append = Append {
            channel,
            content_type,
            payloads,
            seq,
            producer: producer.clone(),
            is_closing,
            user: access.user(),
        };
        let reply = service.bus.stream(StreamOp::Append(append.into())).await?;
        let is_new = reply.outcome == Outcome::Done;
        let metrics = &service.edge.metrics;
        if is_new {
            metrics.publishes.inc_by(count as u64)
        } else {
            metrics.repeats.inc()
        };
        // A client with a producer recognizes by the status whether its request was a repetition.
        let status = if is_new && count > 0 && producer.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT };
        let mut answer = HttpResponse::build(status);
        fields::tail(&mut answer, &reply.info);
        answer.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(Producer { epoch, seq, .. }) = producer {
            let highest = if let Outcome::Repeated(Some(highest)) = reply.outcome { highest } else { seq };
            answer
                .insert_header((PRODUCER_EPOCH, epoch.to_string()))
                .insert_header((PRODUCER_SEQ, highest.to_string()));
        }
        Ok(ResponseBody::boxed(answer.finish()))
    })
}

/// The head of a request.
struct Request {
    target: Target,
    content_type: Option<MediaType>,
    seq: Option<Box<str>>,
    producer: Option<Producer>,
    is_closing: bool,
}

impl Request {
    fn read(service: &Service, parts: &RequestParts<'_>) -> Result<Self, ApiError> {
        let (target, is_closing) = (Target::of_write(service, parts)?, fields::is_closing(parts.headers));
        let content_type = match fields::content_type(parts.headers) {
            // Without messages it has no meaning, and libraries add one.
            Err(_) if is_closing => None,
            content_type => content_type?,
        };
        Ok(Self {
            target,
            content_type,
            seq: fields::short_text(parts.headers, &SEQ)?.map(Into::into),
            producer: fields::producer(parts.headers)?,
            is_closing,
        })
    }

    /// The messages of the body.
    fn payloads(&self, body: Bytes, service: &Service, share: &mut Share) -> Result<Vec<Payload>, ApiError> {
        if body.is_empty() {
            let message =
                "the body is empty; an append has one, and closing a stream needs the header Stream-Closed: true";
            return if self.is_closing { Ok(Vec::new()) } else { Err(ApiError::invalid("bad_body", message)) };
        }
        let Some(content_type) = &self.content_type else {
            return Err(ApiError::invalid("bad_content_type", "Content-Type is missing; send that of the stream"));
        };
        let payloads = payloads(content_type, body, admit(service, share))?;
        if payloads.is_empty() {
            return Err(ApiError::invalid("bad_body", "the array is empty: append at least one element"));
        }
        Ok(payloads)
    }
}

/// Deletes the stream of the path.
pub(crate) fn delete(service: &Service, parts: &RequestParts<'_>) -> ResponseFuture {
    let (target, owner) = (Target::of_write(service, parts), service.clone());
    respond(service, parts, async move {
        let Target { access, channel } = target?;
        owner.edge.limits.publish(&access.identity(), 1)?;
        owner.bus.stream(StreamOp::Delete(channel)).await?;
        let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok::<_, Refusal>(ResponseBody::boxed(HttpResponse::NoContent().insert_header(no_store).finish()))
    })
}
