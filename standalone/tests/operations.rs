//! What docs/OPERATIONS.md says there is, there is, and nothing else: settings with their defaults, metrics, reasons of refusals.

#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use edge::testing::Site;
use serde_json::Value;

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

/// All metrics of a server, with those of the chat, of webhooks, and of a cluster.
async fn metrics() -> String {
    let site = Site::start(
        &standalone::DEFAULTS,
        &[("TRIDENT_BUS", "redis://127.0.0.1:1"), ("TRIDENT_TRACES_URL", "http://127.0.0.1:1")],
        |service| comet_svc::routes(service).and(sse_svc::routes(service)),
        |_| (),
    );
    // What the chat counts, it counts from its beginning on; with a Redis that never comes, what it would of a cluster, too.
    let _chat = chat_svc::Chat::new(&site.service).unwrap();
    webhooks::start(&site.service);
    streams_svc::subscriptions::start(&site.service);
    site.get("/healthz").send().await;
    site.get("/metrics").send().await.text().to_owned()
}

/// The label `reason` of a line of `/metrics`.
fn reason_of(line: &str) -> Option<&str> {
    line.split_once("reason=\"")?.1.split('"').next()
}

#[actix_web::test]
async fn every_metric_and_reason() {
    let text = metrics().await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let metrics: BTreeSet<String> =
        types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect();
    let page = documented(|name| name.starts_with("trident_") || name.starts_with("process_"));
    assert_eq!(page.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), metrics);

    // Why parked connections leave is explained in the row of their metric.
    const UNPARKED: &str = "trident_unparked_total";
    let (unparked, others): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with(UNPARKED));
    let row = PAGE.lines().find(|row| row.starts_with(&format!("| `{UNPARKED}`"))).unwrap();
    let unnamed: Vec<_> =
        unparked.into_iter().filter_map(reason_of).filter(|name| !row.contains(&format!("`{name}`"))).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    let reasons: BTreeSet<&str> = others.into_iter().filter_map(reason_of).collect();
    // One table of refusals, one of what is degraded.
    let tables = PAGE.split("\n| reason |").skip(1);
    let rows = tables.flat_map(|table| table.split("\n\n").next().unwrap().lines().skip(2));
    let named: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(", "))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    assert_eq!(named, reasons);
}

/// The PromQL of dashboards and of alert rules.
fn expressions() -> Vec<String> {
    const BOARD: &str = include_str!("../../ops/grafana/trident.json");
    const RULES: &str = include_str!("../../ops/prometheus/trident.rules.yml");
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let of_panels = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let of_rules = RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: ").map(str::to_owned));
    of_panels.chain(of_rules).collect()
}

/// The words of PromQL outside of quotes, each with the character after it.
fn words(expression: &str) -> impl Iterator<Item = (&str, char)> {
    let parts = expression.split('"').step_by(2);
    parts.flat_map(|part| {
        let is_inside = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$');
        let starts =
            part.char_indices().filter(move |(at, letter)| is_inside(*letter) && !part[..*at].ends_with(is_inside));
        starts.map(move |(at, _)| {
            let end = part[at..].find(|letter| !is_inside(letter)).map_or(part.len(), |length| at + length);
            (&part[at..end], part[end..].trim_start().chars().next().unwrap_or('"'))
        })
    })
}

/// Each metric that a dashboard or an alert uses exists, with the labels that it is used with.
#[actix_web::test]
async fn dashboards_and_alerts_use_what_there_is() {
    let text = metrics().await;
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    // Some metrics have no series yet, so the labels are those of the page's table.
    let labels: BTreeMap<&str, BTreeSet<&str>> = PAGE
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().trim_end_matches('`');
            Some((name, cells.next()?.split(',').map(|label| label.trim().trim_matches('`')).collect()))
        })
        .collect();
    let expressions = expressions();
    assert!(expressions.len() > 60, "{}", expressions.len());
    for expression in &expressions {
        let mut known = BTreeSet::from(["job", "instance"]);
        for (word, _) in
            words(expression).filter(|(word, _)| word.starts_with("trident_") || word.starts_with("process_"))
        {
            let exists = match word.strip_suffix("_total") {
                Some(name) => types.get(name) == Some(&"counter"),
                None => match word.strip_suffix("_bucket") {
                    Some(name) => known.insert("le") && types.get(name) == Some(&"histogram"),
                    None => types.get(word) == Some(&"gauge"),
                },
            };
            assert!(exists, "no metric {word}: {expression}");
            known.extend(labels.get(word).into_iter().flatten());
        }
        // A label is compared, or listed after `by` or `on`.
        let compared = words(expression).filter(|(_, next)| matches!(next, '=' | '!')).map(|(word, _)| word);
        let lists = expression.split(" by (").skip(1).chain(expression.split(" on (").skip(1));
        let listed = lists.filter_map(|rest| rest.split_once(')')).flat_map(|(list, _)| list.split(", "));
        for label in compared.chain(listed.filter(|label| label.chars().all(|letter| letter.is_ascii_lowercase()))) {
            assert!(known.contains(label), "no label {label}: {expression}");
        }
    }
}
