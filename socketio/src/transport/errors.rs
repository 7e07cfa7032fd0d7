//! The bodies and statuses of refusals.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};

use crate::engine::Refusal;

impl Refusal {
    /// The answer to an ordinary request.
    pub(crate) fn into_response(self) -> HttpResponse {
        match self.code() {
            Some(code) => {
                let status = match self {
                    Self::Forbidden(_) | Self::Full => StatusCode::FORBIDDEN,
                    _ => StatusCode::BAD_REQUEST,
                };
                let message = serde_json::Value::from(self.to_string());
                HttpResponse::build(status)
                    .insert_header((header::CONTENT_TYPE, "application/json"))
                    .body(format!(r#"{{"code":{code},"message":{message}}}"#))
            }
            None if self == Self::Timeout => HttpResponse::RequestTimeout().force_close().finish(),
            None if self == Self::UnsupportedWebSocket => self.into_upgrade_response(),
            None if self == Self::Internal => HttpResponse::InternalServerError().finish(),
            None if self == Self::NoRoom => HttpResponse::ServiceUnavailable().force_close().finish(),
            None => HttpResponse::PayloadTooLarge().force_close().finish(),
        }
    }

    /// The answer to a WebSocket upgrade: 400 and the bare message, except for a version that another one could replace, and a panic.
    pub(crate) fn into_upgrade_response(self) -> HttpResponse {
        let mut response = if self == Self::UnsupportedWebSocket {
            let mut response = HttpResponse::UpgradeRequired();
            response.insert_header((header::UPGRADE, "websocket"));
            response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
            response
        } else if self == Self::Internal {
            HttpResponse::InternalServerError()
        } else {
            HttpResponse::BadRequest()
        };
        response.force_close().insert_header((header::CONTENT_TYPE, "text/html")).body(self.to_string())
    }
}
