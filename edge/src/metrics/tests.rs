use std::time::Duration;

use super::*;

fn lines(metrics: &Metrics) -> Vec<String> {
    metrics.encode().unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn every_figure_is_there_from_the_start() {
    let metrics = Metrics::new("test-svc", "1.2.3");
    let lines = lines(&metrics);
    for line in [
        "trident_publishes_total 0",
        "trident_http_requests_in_flight 0",
        r#"trident_build_info{service="test-svc",version="1.2.3"} 1"#,
        r#"trident_refusals_total{reason="bad_token"} 0"#,
        r#"trident_connections{transport="sse"} 0"#,
        r#"trident_deliveries_total{transport="longpoll"} 0"#,
        r#"trident_gaps_total{transport="websocket"} 0"#,
        r#"trident_connections_opened_total{transport="polling"} 0"#,
    ] {
        assert!(lines.iter().any(|told| told == line), "{line}\n{}", lines.join("\n"));
    }
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
}

#[test]
fn handles_count_what_is_read() {
    let metrics = Metrics::new("t", "0");
    let sse = metrics.transport(Transport::Sse).clone();
    sse.deliveries.inc_by(7);
    sse.gaps.inc();
    metrics.refusals.publish_rate.inc();
    metrics.answered(Some("/events".into()), "GET", 200);
    metrics.answered(Some("/events".into()), "GET", 204);
    metrics.answered(None, "BREW", 405);
    let lines = lines(&metrics);
    for line in [
        r#"trident_deliveries_total{transport="sse"} 7"#,
        r#"trident_gaps_total{transport="sse"} 1"#,
        r#"trident_refusals_total{reason="publish_rate"} 1"#,
        r#"trident_http_requests_total{route="/events",method="GET",status="2xx"} 2"#,
        r#"trident_http_requests_total{route="unmatched",method="other",status="4xx"} 1"#,
    ] {
        assert!(lines.iter().any(|told| told == line), "{line}\n{}", lines.join("\n"));
    }
}

#[test]
fn the_log_is_asked_when_it_is_read() {
    let metrics = Metrics::new("t", "0");
    metrics.watch_log(|| LogFigures {
        channels: 1,
        messages: 2,
        bytes: 3,
        encoded_bytes: 7,
        unstored_bytes: 8,
        pattern_bytes: 9,
        publishing_bytes: 10,
        readers: 4,
        keys: 8,
        key_bytes: 9,
        lag_messages: 5,
        lag: Duration::from_millis(1500),
    });
    let lines = lines(&metrics);
    for line in [
        "trident_log_channels 1",
        "trident_log_messages 2",
        "trident_log_bytes 3",
        "trident_log_readers 4",
        "trident_encoded_bytes 7",
        "trident_unstored_message_bytes 8",
        "trident_pattern_bytes 9",
        "trident_publishing_bytes 10",
        "trident_idempotency_keys 8",
        "trident_idempotency_bytes 9",
        "trident_lag_messages 5",
        "trident_lag_seconds 1.5",
    ] {
        assert!(lines.iter().any(|told| told == line), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn process_metrics_are_reported() {
    let lines = lines(&Metrics::new("t", "0"));
    let value = |name: &str| -> f64 {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_threads") >= 1.0 && value("process_start_time_seconds") > 1.7e9);
}

/// Prometheus's older text form knows no other types; a type of OpenMetrics alone would make it refuse the whole page.
#[test]
fn only_types_that_the_older_form_knows() {
    for line in lines(&Metrics::new("t", "0")) {
        if let Some(kind) = line.strip_prefix("# TYPE ").and_then(|line| line.split(' ').nth(1)) {
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
        }
    }
}
