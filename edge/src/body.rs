//! Reads a request's body, with a limit in size and time.

use std::time::Duration;

use actix_web::{
    error::PayloadError,
    http::header::{self, HeaderMap},
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt as _;

use super::{ApiError, Edge, receiving::Share, routes::RequestBody};

/// The body of a request that is to be read.
#[derive(Debug)]
pub struct BodyReader {
    body: RequestBody,
    /// `Content-Length`.
    length: Option<usize>,
    is_compressed: bool,
}

impl BodyReader {
    /// Keeps `body`, and what the header fields say of it.
    #[must_use]
    pub fn new(headers: &HeaderMap, body: RequestBody) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { body, length, is_compressed: is_compressed(headers) }
    }

    /// Reads the body: at most `TRIDENT_MAX_BODY` bytes, within `TRIDENT_BODY_TIMEOUT`.
    ///
    /// The time is for the whole body, not between two of its bytes: a client that sends a byte a second would otherwise
    /// keep its place for hours. The memory that an arriving body takes is counted in `share`.
    ///
    /// # Errors
    /// 413 for a body that is too large (at once, when its length is announced), 408 for one that is too slow, 415 for one that
    /// is compressed, 400 for one that breaks off or is framed wrongly, 503 when there is no memory for it.
    pub async fn read(self, edge: &Edge, share: &mut Share) -> Result<Bytes, ApiError> {
        self.read_up_to(("TRIDENT_MAX_BODY", edge.settings.max_body), edge, share).await
    }

    /// As [`BodyReader::read`], with another limit than `TRIDENT_MAX_BODY`: that of a setting.
    ///
    /// # Errors
    /// As [`BodyReader::read`].
    pub async fn read_up_to(
        self,
        (setting, limit): (&'static str, Option<usize>),
        edge: &Edge,
        share: &mut Share,
    ) -> Result<Bytes, ApiError> {
        let result = self.read_within((setting, limit), edge.settings.body_timeout, share).await;
        let refusals = &edge.metrics.refusals;
        match &result {
            Err(ApiError::TooLarge { .. }) => refusals.body_size.inc(),
            Err(ApiError::TooSlow(_)) => refusals.slow_body.inc(),
            Err(ApiError::Unavailable { .. }) => refusals.receive_total.inc(),
            _ => 0,
        };
        result
    }

    async fn read_within(
        self,
        (setting, limit): (&'static str, Option<usize>),
        within: Duration,
        share: &mut Share,
    ) -> Result<Bytes, ApiError> {
        if self.is_compressed {
            return Err(ApiError::UnsupportedMediaType(
                "compressed bodies are not accepted; omit Content-Encoding".to_owned(),
            ));
        }
        let limit = limit.unwrap_or(usize::MAX);
        let length = self.length;
        if length.is_some_and(|length| length > limit) {
            return Err(ApiError::TooLarge { setting, limit });
        }
        let mut stream = match self.body {
            RequestBody::Complete(body) if body.len() > limit => return Err(ApiError::TooLarge { setting, limit }),
            RequestBody::Complete(body) => return Ok(body),
            RequestBody::Stream(stream) => stream,
        };
        let body = async {
            // Memory is allocated for what has arrived, not for what is announced.
            let mut body = BytesMut::with_capacity(length.unwrap_or(0).min(16 * 1024));
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(broken)?;
                if body.len() + chunk.len() > limit {
                    return Err(ApiError::TooLarge { setting, limit });
                }
                body.extend_from_slice(&chunk);
                share.set(body.capacity())?;
            }
            Ok(body.freeze())
        };
        match tokio::time::timeout(within, body).await {
            Ok(body) => body,
            Err(_) => Err(ApiError::TooSlow(format!(
                "the body did not arrive within {} s (TRIDENT_BODY_TIMEOUT)",
                within.as_secs_f64()
            ))),
        }
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING);
    coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn broken(error: PayloadError) -> ApiError {
    let what = match error {
        PayloadError::Incomplete(_) | PayloadError::Io(_) => "the connection ended before the body was complete",
        PayloadError::Overflow => "the body is longer than its Content-Length",
        _ => "the body has invalid framing (Content-Length or chunks)",
    };
    ApiError::invalid("bad_body", what)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use futures_util::{
        Stream,
        stream::{self, pending},
    };

    use super::*;
    use crate::receiving::Receiving;

    type Chunk = Result<Bytes, PayloadError>;

    async fn read(
        headers: &[(&str, &str)],
        payload: impl Stream<Item = Chunk> + 'static,
        limit: Option<usize>,
    ) -> Result<Bytes, String> {
        let mut request = TestRequest::post();
        for header in headers {
            request = request.append_header(*header);
        }
        let mut share = Receiving::new(None).share();
        let request = request.to_http_request();
        let reader = BodyReader::new(request.headers(), RequestBody::Stream(Box::pin(payload)));
        let read = reader.read_within(("TRIDENT_MAX_BODY", limit), Duration::from_secs(10), &mut share).await;
        read.map_err(|error| error.code().to_owned())
    }

    fn chunks(chunks: &[&'static str]) -> impl Stream<Item = Chunk> + use<> {
        stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect::<Vec<_>>())
    }

    #[actix_web::test]
    async fn the_whole_body_up_to_the_limit() {
        assert_eq!(read(&[], chunks(&["ab", "", "cd"]), Some(4)).await, Ok(Bytes::from("abcd")));
        assert_eq!(read(&[], chunks(&["ab", "cd"]), Some(3)).await, Err("too_large".to_owned()));
        assert_eq!(read(&[], chunks(&["ab", "cd"]), None).await, Ok(Bytes::from("abcd")));
        assert_eq!(read(&[], chunks(&[]), Some(1)).await, Ok(Bytes::new()));
    }

    #[actix_web::test]
    async fn a_complete_body_has_the_same_limits() {
        let read = async |coding: Option<&'static str>, limit| {
            let mut request = TestRequest::post();
            if let Some(coding) = coding {
                request = request.append_header(("content-encoding", coding));
            }
            let body = RequestBody::Complete(Bytes::from_static(b"abcd"));
            let reader = BodyReader::new(request.to_http_request().headers(), body);
            let mut share = Receiving::new(None).share();
            reader
                .read_within(("TRIDENT_MAX_BODY", limit), Duration::ZERO, &mut share)
                .await
                .map_err(|error| error.code().to_owned())
        };
        assert_eq!(read(None, Some(4)).await, Ok(Bytes::from("abcd")));
        assert_eq!(read(None, Some(3)).await, Err("too_large".to_owned()));
        assert_eq!(read(Some("gzip"), None).await, Err("unsupported_media_type".to_owned()));
    }

    #[actix_web::test]
    async fn a_body_that_exceeds_the_total_is_rejected() {
        let all = Receiving::new(Some(100_000));
        let mut other = all.share();
        other.set(60_000).unwrap();
        let read = async |parts: usize| {
            let payload = stream::iter((0..parts).map(|_| Ok(Bytes::from_static(&[b'x'; 16 * 1024]))));
            let mut share = all.share();
            let reader = BodyReader::new(&HeaderMap::new(), RequestBody::Stream(Box::pin(payload)));
            let read = reader.read_within(("TRIDENT_MAX_BODY", None), Duration::from_secs(10), &mut share).await;
            read.map(|body| body.len()).map_err(|error| error.code().to_owned())
        };
        assert_eq!(read(2).await, Ok(2 * 16 * 1024));
        assert_eq!((read(3).await, all.bytes()), (Err("overloaded".to_owned()), 60_000));
        drop(other);
        assert_eq!((read(30).await, all.bytes()), (Ok(30 * 16 * 1024), 0));
    }

    #[actix_web::test]
    async fn a_content_length_above_the_limit_is_rejected_before_reading() {
        let told = [("content-length", "5")];
        assert_eq!(read(&told, pending(), Some(4)).await, Err("too_large".to_owned()));
    }

    #[actix_web::test]
    async fn a_compressed_body_is_refused() {
        let coded = [("content-encoding", "gzip")];
        assert_eq!(read(&coded, chunks(&["x"]), None).await, Err("unsupported_media_type".to_owned()));
        assert_eq!(read(&[("content-encoding", "Identity")], chunks(&["x"]), None).await, Ok(Bytes::from("x")));
    }

    #[actix_web::test]
    async fn an_incomplete_body_is_a_client_error() {
        let broken = stream::iter([Ok(Bytes::from("x")), Err(PayloadError::Incomplete(None))]);
        assert_eq!(read(&[], broken, None).await, Err("bad_body".to_owned()));
    }

    /// Tokio's clock, which advances automatically when nothing else is to be done.
    #[tokio::test(start_paused = true)]
    async fn the_time_is_for_the_whole_body() {
        // A byte every second, forever: never idle for long, and still too slow.
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let begun = tokio::time::Instant::now();
        assert_eq!(read(&[], drip, None).await, Err("too_slow".to_owned()));
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }
}
