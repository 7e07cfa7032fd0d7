//! `GET /data`: poll, long poll and stream.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use actix_web::{HttpRequest, HttpResponse, body::BoxBody, http::Method, web};
use futures_util::stream;
use shared::{
    edge::{
        Access, ApiError,
        guarded::Guarded,
        lane::Asked,
        limits::Slot,
        metrics::Transport,
        service::Service,
        stream::{Stream, Times},
    },
    live::reader::{Batch, Limit, Reader},
    pure::{Message, Since},
};

use crate::{
    answer::{self, json_type, no_store},
    ask::{Ask, Format, Mode},
    wire::Lines,
};

/// Answers with what comes after the cursor; `HEAD` gets the headers that a `GET` would, as far as they are known
/// without waiting.
///
/// What it needs of the request it has read when it returns: a long poll waits without it.
pub(crate) fn answer(
    service: &Service,
    asked: &Asked<'_>,
) -> impl Future<Output = Result<HttpResponse, ApiError>> + 'static {
    let access = Access::of(&service.edge, asked);
    let (ask, is_head) = (Ask::read(asked, &access), asked.method == Method::HEAD);
    let service = service.clone();
    async move {
        let ask = ask?;
        if is_head {
            return Ok(head(&ask, &service));
        }
        let slot = |transport| service.edge.limits.connect(access.address(), transport);
        match ask.mode {
            Mode::Stream => {
                let slot = slot(Transport::Stream)?;
                let times = Times::of(&service.edge.settings, &access);
                let reader = ask.subscription.open(&service).await?;
                Ok(answer::streamed(reader.place()).body(Stream::new(reader, Lines(ask.format), slot, times)))
            }
            Mode::Poll => {
                let slot = slot(Transport::Poll)?;
                let mut reader = ask.subscription.open(&service).await?;
                let answer = match newest(&ask, &service) {
                    Some(newest) => {
                        let batch = Batch { gap: None, cursor: newest.id, messages: vec![newest] };
                        answer::raw(&batch, slot.figures())
                    }
                    None => {
                        let batch = reader.read(limit(&ask));
                        answer::answer(&ask, &reader, batch, slot.figures())
                    }
                };
                Ok(held(answer, slot))
            }
            Mode::LongPoll => {
                let slot = slot(Transport::LongPoll)?;
                let mut reader = ask.subscription.open(&service).await?;
                // What was opened with a token ends with it.
                let wait = access.expires_in(SystemTime::now()).map_or(ask.wait, |left| left.min(ask.wait));
                let batch = tokio::time::timeout(wait, reader.next(limit(&ask))).await;
                // `None` is a log that is closed: the process ends, and the client is answered and goes elsewhere.
                let answer = answer::answer(&ask, &reader, batch.ok().flatten(), slot.figures());
                Ok(held(answer, slot))
            }
        }
    }
}

/// The application's way to [`answer`].
pub(crate) async fn handler(request: HttpRequest, service: web::Data<Service>) -> Result<HttpResponse, ApiError> {
    let answer = answer(&service, &Asked::from(&request));
    drop(request);
    answer.await
}

/// An answer that keeps its place until the client has taken it: who takes a long one slowly counts for as long as that lasts.
fn held(answer: HttpResponse, slot: Slot) -> HttpResponse {
    answer.map_body(|_, body| BoxBody::new(Guarded::new(body, slot)))
}

/// How much one answer takes. A raw answer takes one message, and the next one only once this has been asked for.
fn limit(ask: &Ask) -> Limit {
    match ask.format {
        Format::Raw => Limit { messages: 1, bytes: usize::MAX },
        // As many as were asked for, but not a thousand of the largest: the cursor leads on to the rest.
        Format::Batch => Limit { messages: ask.limit, bytes: 1024 * 1024 },
    }
}

/// What a raw poll without a cursor gets: the newest message there is.
fn newest(ask: &Ask, service: &Service) -> Option<Arc<Message>> {
    let is_wanted = ask.mode == Mode::Poll && ask.format == Format::Raw && ask.subscription.since == Since::Now;
    is_wanted.then(|| service.log().newest(&ask.subscription.channels)).flatten()
}

fn head(ask: &Ask, service: &Service) -> HttpResponse {
    match (ask.mode, ask.format) {
        // A body of unknown length, as the GET has, of which a HEAD is sent nothing.
        (Mode::Stream, _) => {
            let reader = Reader::open(service.log(), &ask.subscription.channels, ask.subscription.since);
            answer::streamed(reader.place()).streaming(stream::empty::<Result<_, Infallible>>())
        }
        (_, Format::Batch) => HttpResponse::Ok().content_type(json_type()).insert_header(no_store()).finish(),
        (_, Format::Raw) => {
            let mut reader = Reader::open(service.log(), &ask.subscription.channels, ask.subscription.since);
            let next = newest(ask, service).map(|newest| newest.id);
            let next = next.or_else(|| reader.read(limit(ask)).map(|batch| batch.cursor));
            match next {
                Some(cursor) => answer::tagged(&mut HttpResponse::Ok(), cursor).content_type(json_type()).finish(),
                None => answer::nothing(ask, reader.cursor()),
            }
        }
    }
}
