//! How costs grow: a table and a plot for each thing that grew.

use super::Part;
use crate::{
    chart::{self, Curve},
    report::{Record, Run},
    table::Table,
};

/// A figure of a run.
type Value = fn(&Run) -> Option<f64>;

pub(super) fn part(records: &[Record]) -> Part {
    let mut part = Part::default();
    let mut names: Vec<&str> = Vec::new();
    for step in records.iter().filter_map(|record| record.series.as_ref()) {
        if !names.contains(&step.name.as_str()) {
            names.push(&step.name);
        }
    }
    for name in names {
        let of_series = |record: &&Record| record.series.as_ref().is_some_and(|step| step.name == name);
        let records: Vec<&Record> = records.iter().filter(of_series).collect();
        let (heading, unit) = heading(name);
        part.table(heading, &table(unit, &records));
        if name != "workers" {
            let file = format!("growth-{}", name.replace(' ', "-"));
            part.plot(&file, heading, chart::curves(heading, unit, &curves(&records)));
        }
    }
    part
}

/// What a series is called, and what grows in it.
fn heading(name: &str) -> (&'static str, &'static str) {
    match name {
        "memory" => ("Idle connections: memory and processor time for each", "connections"),
        "readers" => ("Readers of one channel: processor time for each delivery", "readers"),
        "idle elsewhere" => ("Publishing while others read another channel", "idle readers"),
        "channels" => ("Publishing to many channels in turn", "channels"),
        "rate" => ("Rate: 100 readers of event streams", "messages/s"),
        "payload" => ("Payload: 100 readers of event streams", "bytes"),
        "history" => ("History: 1,000 readers of event streams, and publishing to nobody", "messages kept"),
        _ => ("Workers, on all cores together with the load", "workers"),
    }
}

/// What is measured, in words.
fn kind(run: &Run) -> String {
    match run {
        Run::Idle(run) => format!("{} idle", run.transport.name()),
        Run::Fanout(run) if run.rate.is_some() => run.transport.name().to_owned(),
        Run::Fanout(run) => format!("{} window {}", run.transport.name(), run.window),
        Run::Sequential(run) => format!("{} burst {}", run.transport.name(), run.burst),
        Run::Publish(_) => "publish".to_owned(),
        Run::Start(_) => "start".to_owned(),
        Run::Catchup(run) => format!("{} catch up", run.readers),
        Run::Sync(_) => "sync".to_owned(),
    }
}

fn cpu(run: &Run) -> Option<f64> {
    match run {
        Run::Idle(run) => run.server_cpu_us_per_connect,
        Run::Fanout(run) => run.server_cpu_us_per_delivery,
        Run::Sequential(run) => run.server_cpu_us_per_delivery,
        Run::Publish(run) => run.server_cpu_us_per_request,
        Run::Start(_) | Run::Catchup(_) | Run::Sync(_) => None,
    }
}

/// The column of each figure, and the figure.
const FIGURES: [(&str, usize, Value); 7] = [
    ("deliveries or requests/s", 0, |run| match run {
        Run::Idle(_) | Run::Sequential(_) | Run::Start(_) | Run::Catchup(_) | Run::Sync(_) => None,
        Run::Fanout(run) => Some(run.deliveries_per_second),
        Run::Publish(run) => Some(run.requests_per_second),
    }),
    ("µs CPU each", 2, cpu),
    ("kB each", 2, |run| match run {
        Run::Idle(run) => run.kilobytes(),
        _ => None,
    }),
    ("p50 ms", 2, |run| Some(latency(run)?.p50 / 1000.0)),
    ("p99 ms", 2, |run| Some(latency(run)?.p99 / 1000.0)),
    ("memory grew by MB", 1, |run| match run {
        Run::Publish(run) => run.grown_bytes.map(|bytes| bytes as f64 / 1e6),
        _ => None,
    }),
    ("server CPU %", 0, |run| match run {
        Run::Idle(_) | Run::Sequential(_) | Run::Start(_) | Run::Catchup(_) | Run::Sync(_) => None,
        Run::Fanout(run) => Some(run.server?.of_core * 100.0),
        Run::Publish(run) => Some(run.server?.of_core * 100.0),
    }),
];

fn latency(run: &Run) -> Option<crate::report::Latency> {
    match run {
        Run::Idle(_) | Run::Start(_) | Run::Catchup(_) => None,
        Run::Sync(run) => Some(run.latency_us),
        Run::Fanout(run) => Some(run.latency_us),
        Run::Sequential(run) => Some(run.all_us),
        Run::Publish(run) => Some(run.latency_us),
    }
}

fn load(run: &Run) -> f64 {
    match run {
        Run::Idle(run) => run.load.of_core,
        Run::Fanout(run) => run.load.of_core,
        Run::Sequential(run) => run.load.of_core,
        Run::Publish(run) => run.load.of_core,
        Run::Start(_) | Run::Catchup(_) | Run::Sync(_) => 0.0,
    }
}

fn table(unit: &'static str, records: &[&Record]) -> Table {
    let figures: Vec<_> =
        FIGURES.into_iter().filter(|(.., value)| records.iter().any(|record| value(&record.run).is_some())).collect();
    let row = |record: &&Record| {
        let at = record.series.as_ref().map_or(0, |step| step.at);
        let cells = figures.iter().map(|(_, digits, value)| {
            value(&record.run).map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        });
        let first = [at.to_string(), kind(&record.run)];
        first.into_iter().chain(cells).chain([format!("{:.0} %", load(&record.run) * 100.0)]).collect()
    };
    let named = figures.iter().map(|(name, ..)| *name);
    Table {
        title: "",
        columns: [unit, "what"].into_iter().chain(named).chain(["load CPU"]).collect(),
        rows: records.iter().map(row).collect(),
    }
}

/// Processor time for each delivery or request, and memory for each connection.
fn curves(records: &[&Record]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    let values: [(&str, Value); 2] = [("µs", cpu), ("kB", FIGURES[2].2)];
    for record in records {
        let Some(step) = &record.series else { continue };
        for (unit, value) in values {
            let Some(value) = value(&record.run).filter(|value| *value > 0.0) else { continue };
            let name = format!("{}, {unit}", kind(&record.run));
            let at = curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
                curves.push(Curve { name, points: Vec::new() });
                curves.len() - 1
            });
            curves[at].points.push((step.at as f64, Some(value)));
        }
    }
    curves
}
