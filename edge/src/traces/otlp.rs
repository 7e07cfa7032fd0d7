//! Spans as OTLP/JSON, the JSON form of an `ExportTraceServiceRequest`
//! ([OTLP 1.x, "JSON Protobuf Encoding"](https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)): ids in hexadecimal, 64-bit numbers as
//! texts, enumerations as numbers.

use serde::Serialize;

use super::span::{Span, Value};

/// The JSON of `spans`, of the process with these attributes.
pub(super) fn encode(process: &[(&'static str, Value)], spans: &[Span]) -> Vec<u8> {
    let scope = ScopeSpans { scope: Scope { name: "trident" }, spans: spans.iter().map(SpanJson::of).collect() };
    let of_process = ResourceSpans { resource: Resource { attributes: attributes(process) }, scope_spans: [scope] };
    // Texts and numbers always serialize.
    serde_json::to_vec(&Request { resource_spans: [of_process] }).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<SpanJson<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'static str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: ValueJson<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ValueJson<'a> {
    StringValue(&'a str),
    IntValue(String),
}

#[derive(Serialize)]
struct Status<'a> {
    /// `STATUS_CODE_ERROR`.
    code: u8,
    message: &'a str,
}

impl<'a> SpanJson<'a> {
    fn of(span: &'a Span) -> Self {
        Self {
            trace_id: format!("{:032x}", span.context.trace),
            span_id: format!("{:016x}", span.context.span),
            parent_span_id: (span.parent != 0).then(|| format!("{:016x}", span.parent)),
            name: span.name,
            kind: span.kind as u8,
            start_time_unix_nano: span.begin.to_string(),
            end_time_unix_nano: span.end.to_string(),
            attributes: attributes(&span.attributes),
            status: span.failure.as_deref().map(|message| Status { code: 2, message }),
        }
    }
}

fn attributes<'a>(all: &'a [(&'static str, Value)]) -> Vec<Attribute<'a>> {
    let value = |value: &'a Value| match value {
        Value::Text(text) => ValueJson::StringValue(text),
        Value::Number(number) => ValueJson::IntValue(number.to_string()),
    };
    all.iter().map(|(key, of)| Attribute { key, value: value(of) }).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{context::TraceContext, span::SpanKind},
        *,
    };

    #[test]
    fn spans_have_the_form_of_the_specification() {
        let context = TraceContext {
            trace: 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c,
            span: 0xeee1_9b7e_c3c1_b174,
            is_sampled: true,
        };
        let mut span = Span::begin(context, "publish", SpanKind::Server);
        (span.context.span, span.begin, span.end) =
            (0xb7ad_6b71_6920_3331, 1_544_712_660_000_000_000, 1_544_712_661_000_000_000);
        span.set("messaging.batch.message_count", 2_u64);
        span.fail("disk_full");
        let encoded = encode(&[("service.name", "standalone".into())], &[span]);
        let expected = concat!(
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"standalone"}}]},"#,
            r#""scopeSpans":[{"scope":{"name":"trident"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","#,
            r#""spanId":"b7ad6b7169203331","parentSpanId":"eee19b7ec3c1b174","name":"publish","kind":2,"#,
            r#""startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","#,
            r#""attributes":[{"key":"messaging.batch.message_count","value":{"intValue":"2"}}],"#,
            r#""status":{"code":2,"message":"disk_full"}}]}]}]}"#,
        );
        assert_eq!(String::from_utf8(encoded).unwrap(), expected);
        let first = Span::begin(TraceContext::new(), "call", SpanKind::Client);
        let encoded = String::from_utf8(encode(&[], &[first])).unwrap();
        assert!(!encoded.contains("parentSpanId") && !encoded.contains("status"), "{encoded}");
    }
}
