//! To which trace, and to which span of it, a request belongs ([W3C Trace Context](https://www.w3.org/TR/trace-context/), `traceparent`).

use actix_web::http::header::{HeaderMap, HeaderName};

/// The header.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The length of version 00.
const LENGTH: usize = 55;

/// A span of a trace, or a trace that has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Of the trace; not zero.
    pub(super) trace: u128,
    /// Of the span; zero if it has none yet.
    pub(super) span: u64,
    /// Whether its spans are recorded.
    pub(super) is_sampled: bool,
}

impl TraceContext {
    /// A new trace, which is recorded.
    pub(super) fn new() -> Self {
        Self { trace: rand::random::<u128>().max(1), span: 0, is_sampled: true }
    }

    /// Another span of the same trace.
    pub(super) fn child(self) -> Self {
        Self { span: rand::random::<u64>().max(1), ..self }
    }

    /// The context that a request carries; `None` if it has none, or an invalid one, which is ignored as the specification demands.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT);
        let only = given.next().filter(|_| given.next().is_none())?;
        Self::parse(only.to_str().ok()?.trim_matches([' ', '\t']))
    }

    fn parse(text: &str) -> Option<Self> {
        let is_field = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        let (known, more) = text.split_at_checked(LENGTH)?;
        if !known.bytes().all(is_field) {
            return None;
        }
        let [version, trace, span, flags] = known.split('-').collect::<Vec<_>>().try_into().ok()?;
        let lengths = [version, trace, span, flags].map(str::len);
        // A later version may have more fields after these.
        let is_whole = more.is_empty() || (version != "00" && more.starts_with('-'));
        if lengths != [2, 32, 16, 2] || version == "ff" || !is_whole {
            return None;
        }
        let context = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            is_sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace != 0 && context.span != 0).then_some(context)
    }

    /// The header of a request that belongs to this span; `None` if there is no span.
    pub(super) fn header(self) -> Option<String> {
        let Self { trace, span, is_sampled } = self;
        (span != 0).then(|| format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(is_sampled)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn the_example_of_the_specification() {
        let text = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let context = TraceContext::parse(&text).unwrap();
        assert_eq!((context.span, context.is_sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.header(), Some(text.clone()));
        assert!(!TraceContext::parse(&text.replace("-01", "-00")).unwrap().is_sampled);
        assert!(!TraceContext::parse(&text.replace("-01", "-fe")).unwrap().is_sampled);
        let child = context.child();
        assert_eq!((child.trace, child.is_sampled, child.span == context.span), (context.trace, true, false));
        assert_eq!(TraceContext::new().header(), None, "there is no span yet");
    }

    #[test]
    fn what_is_invalid_is_ignored() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "00--bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0ä",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::parse(later).is_some(), "a later version may have more");
    }

    #[test]
    fn several_headers_are_none() {
        let value = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(TRACEPARENT, value.parse().unwrap());
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACEPARENT, value.parse().unwrap());
        assert_eq!(TraceContext::of(&headers), None);
    }
}
