//! Error responses of the protocol, with the headers from which a client can continue.

use actix_web::{HttpResponse, ResponseError as _};
use edge::{
    ApiError,
    publish::refused,
    response::ResponseBody,
    routes::{OwnedParts, RequestParts, ResponseFuture},
    service::Service,
};
use shared::{live::bus::BusError, pure::stream::StreamError};

use crate::{
    fields::{self, CLOSED, EXPECTED_SEQ, NEXT_OFFSET, PRODUCER_EPOCH, RECEIVED_SEQ},
    offset::Offset,
};

/// See the module.
pub(crate) enum Refusal {
    Api(ApiError),
    Bus(BusError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

/// The future of a handler.
pub(crate) fn respond(
    service: &Service,
    parts: &RequestParts<'_>,
    answer: impl Future<Output = Result<HttpResponse<ResponseBody>, Refusal>> + 'static,
) -> ResponseFuture {
    let (service, parts) = (service.clone(), OwnedParts::from(parts));
    Box::pin(async move {
        let mut answer = match answer.await {
            Ok(answer) => answer,
            Err(refusal) => refusal.response(&service),
        };
        fields::mark(&parts.parts(), answer.headers_mut());
        answer
    })
}

impl Refusal {
    fn response(self, service: &Service) -> HttpResponse<ResponseBody> {
        let error = match self {
            Self::Api(error) => return ResponseBody::boxed(error.error_response()),
            Self::Bus(error) => error,
        };
        let fields = match &error {
            BusError::Stream(StreamError::Closed { tail }) => {
                vec![(CLOSED, "true".to_owned()), (NEXT_OFFSET, Offset(*tail).to_string())]
            }
            BusError::Stream(StreamError::StaleEpoch { current }) => vec![(PRODUCER_EPOCH, current.to_string())],
            BusError::Stream(StreamError::SequenceGap { expected, received }) => {
                vec![(EXPECTED_SEQ, expected.to_string()), (RECEIVED_SEQ, received.to_string())]
            }
            _ => Vec::new(),
        };
        let mut answer = refused(service, error).error_response();
        for (name, value) in fields {
            if let Ok(value) = value.parse() {
                answer.headers_mut().insert(name, value);
            }
        }
        ResponseBody::boxed(answer)
    }
}
