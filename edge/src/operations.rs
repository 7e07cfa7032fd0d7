//! The routes for load balancers and monitoring, which every service has.

use actix_web::{HttpResponse, http::header};

use super::{
    ApiError, Edge, health,
    routes::{RequestParts, Resource, ResponseFuture, Routes, response, response_ready},
};

/// `/healthz`, `/readyz` and `/metrics`.
pub(super) fn routes(edge: &Edge) -> Routes {
    let (ready, measured) = (edge.clone(), edge.clone());
    Routes::default()
        .resource("/healthz", Resource::default().get(|_| response_ready(Ok(health::healthz()))))
        .resource("/readyz", Resource::default().get(move |_| response_ready(health::readyz(&ready.readiness))))
        .resource("/metrics", Resource::default().get(move |parts| metrics(&measured, parts)))
}

/// `GET /metrics`: OpenMetrics 1.0 if the client accepts it, and the same as Prometheus text 0.0.4 otherwise; no type is used that the
/// older format does not support.
fn metrics(edge: &Edge, parts: &RequestParts<'_>) -> ResponseFuture {
    let accepted = parts.headers.get_all(header::ACCEPT);
    let open =
        accepted.filter_map(|value| value.to_str().ok()).any(|value| value.contains("application/openmetrics-text"));
    let kind = if open {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    let edge = edge.clone();
    response(async move {
        edge.metrics.measure().await;
        let text = edge.metrics.encode().map_err(ApiError::internal)?;
        Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, kind))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(text))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::{
        body::to_bytes,
        http::{
            Method,
            header::{self, HeaderMap, HeaderValue},
        },
    };
    use bytes::Bytes;

    use super::*;
    use crate::{
        Settings,
        layer::ActiveRequest,
        routes::{RequestBody, RequestParts, Target},
        settings::ServiceDefaults,
    };

    struct Answer {
        status: u16,
        headers: HeaderMap,
        body: String,
    }

    async fn get(edge: &Edge, path: &'static str, headers: &HeaderMap) -> Answer {
        let routes = routes(edge);
        let Some(Target::Resource(resource)) = routes.find(path).map(|route| &route.target) else {
            panic!("{path} has no handlers");
        };
        let parts = RequestParts { method: &Method::GET, path, query: "", headers, peer: None, park_after: None };
        let active = ActiveRequest::begin(edge, &parts);
        let response = resource.respond(&edge.settings.origins, &parts, RequestBody::Complete(Bytes::new())).await;
        let response = active.finish(Some(path.into()), response);
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    #[actix_web::test]
    async fn health_readiness_and_metrics() {
        let defaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        let edge = Edge::new(Settings::from_sources(&defaults, [""; 0], []).unwrap(), &defaults);
        let none = HeaderMap::new();
        assert_eq!(get(&edge, "/healthz", &none).await.body, r#"{"status":"ok"}"#);
        assert_eq!(get(&edge, "/readyz", &none).await.status, 200);
        edge.readiness.not_ready("bus_unavailable", "the bus is unavailable: connection refused");
        let answer = get(&edge, "/readyz", &none).await;
        assert_eq!((answer.status, answer.headers.get("retry-after").unwrap().as_bytes()), (503, &b"2"[..]));
        assert_eq!(
            answer.body,
            r#"{"error":{"code":"bus_unavailable","message":"the bus is unavailable: connection refused"}}"#
        );
        assert_eq!(get(&edge, "/healthz", &none).await.status, 200, "a restart would not bring the bus back");
        edge.readiness.ready("bus_unavailable");
        assert_eq!(get(&edge, "/readyz", &none).await.status, 200);
        let text = get(&edge, "/metrics", &none).await;
        assert_eq!(text.headers.get(header::CONTENT_TYPE).unwrap(), "text/plain; version=0.0.4; charset=utf-8");
        let counted = r#"trident_http_requests_total{route="/readyz",method="GET",status="5xx"} 1"#;
        assert!(text.body.contains(counted), "{}", text.body);
        let mut accepting = HeaderMap::new();
        let accept = HeaderValue::from_static("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        accepting.insert(header::ACCEPT, accept);
        let open = get(&edge, "/metrics", &accepting).await;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(open.headers.get(header::CONTENT_TYPE).unwrap(), kind);
    }
}
