//! What docs/OPERATIONS.md says there is, there is, and nothing else: settings with their defaults, metrics, reasons of refusals.

#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use edge::testing::Site;

const PAGE: &str = include_str!("../../docs/OPERATIONS.md");

/// The first cells of the page's table rows, without their quotes, and the second; a first cell may name several things.
fn rows() -> impl Iterator<Item = (Vec<&'static str>, &'static str)> {
    let unquoted = |text: &'static str| text.trim().strip_prefix('`')?.strip_suffix('`');
    PAGE.lines().filter_map(move |line| {
        let mut cells = line.strip_prefix('|')?.split('|');
        let names = cells.next()?.split(", ").filter_map(unquoted).collect();
        Some((names, cells.next().and_then(unquoted).unwrap_or_default()))
    })
}

fn documented(is_wanted: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    rows().flat_map(|(names, _)| names).filter(|name| is_wanted(name)).collect()
}

#[test]
fn every_setting_with_its_default() {
    let output = Command::new(env!("CARGO_BIN_EXE_standalone")).env_clear().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let settings: BTreeMap<&str, &str> = help
        .split("[env: ")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once(']').unwrap();
            (name, rest.strip_prefix(" [default: ").and_then(|rest| rest.split(']').next()).unwrap_or_default())
        })
        .collect();
    let page: BTreeMap<&str, &str> = rows()
        .filter(|(names, _)| names.first().is_some_and(|name| name.starts_with("TRIDENT_")))
        .map(|(names, default)| (names[0], default))
        .collect();
    assert_eq!(page, settings);
}

#[actix_web::test]
async fn every_metric_and_reason() {
    let site = Site::start(
        &standalone::DEFAULTS,
        &[("TRIDENT_BUS", "redis://127.0.0.1:1")],
        |service| comet_svc::routes(service).and(sse_svc::routes(service)),
        |_| (),
    );
    // What the chat counts, it counts from its beginning on; with a Redis that never comes, what it would of a cluster, too.
    let _chat = chat_svc::Chat::new(&site.service).unwrap();
    webhooks::start(&site.service);
    site.get("/healthz").send().await;
    let answer = site.get("/metrics").send().await;
    let text = answer.text();

    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let metrics: BTreeSet<String> =
        types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect();
    let page = documented(|name| name.starts_with("trident_") || name.starts_with("process_"));
    assert_eq!(page.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), metrics);

    let reasons: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_once("reason=\"")?.1.split('"').next()).collect();
    // One table of refusals, one of what is degraded.
    let tables = PAGE.split("\n| reason |").skip(1);
    let rows = tables.flat_map(|table| table.split("\n\n").next().unwrap().lines().skip(2));
    let named: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(", "))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    assert_eq!(named, reasons);
}
