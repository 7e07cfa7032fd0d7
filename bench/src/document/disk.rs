//! A log on disk: starts, readers that catch up, and publishing with each `TRIDENT_FSYNC`.

use super::Part;
use crate::{
    report::{Catchup, Fanout, Latency, Publish, Record, Run, Start, Sync},
    summary::{Figure, figures, spread},
    table::Table,
};

/// The runs of a series, as `select` finds them.
fn of<'a, R>(records: &'a [Record], name: &str, at: Option<u64>, select: fn(&'a Run) -> Option<&'a R>) -> Vec<&'a R> {
    let is_of = |record: &&Record| {
        record.series.as_ref().is_some_and(|step| step.name == name && at.is_none_or(|at| at == step.at))
    };
    records.iter().filter(is_of).filter_map(|record| select(&record.run)).collect()
}

fn cell<R>(runs: &[&R], digits: usize, figure: Figure<R>) -> String {
    spread(&figures(runs, figure), digits)
}

pub(super) fn part(records: &[Record]) -> Part {
    let mut part = Part::default();
    part.table("Start on a log", &starts(records));
    part.table("Live readers while others catch up", &live(records));
    part.table("Readers that catch up from the beginning", &caught(records));
    part.table("Publishing with each `TRIDENT_FSYNC`", &publishing(records));
    part
}

fn starts(records: &[Record]) -> Table {
    let runs: Vec<&Start> = of(records, "start", None, |run| if let Run::Start(run) = run { Some(run) } else { None });
    let row = vec![
        cell(&runs, 0, |run| Some(run.log_bytes as f64 / 1e6)),
        runs.len().to_string(),
        cell(&runs, 2, |run| Some(run.seconds)),
    ];
    let rows = if runs.is_empty() { Vec::new() } else { vec![row] };
    Table { title: "starts", columns: vec!["log, MB", "starts", "seconds until `/readyz` is 200"], rows }
}

fn live(records: &[Record]) -> Table {
    let row = |(name, what): (&str, &str)| {
        let runs: Vec<&Fanout> =
            of(records, name, None, |run| if let Run::Fanout(run) = run { Some(run) } else { None });
        let lost: u64 = runs.iter().map(|run| run.lost + run.repeats + run.late).sum();
        (!runs.is_empty()).then(|| {
            vec![
                what.to_owned(),
                cell(&runs, 0, |run| Some(run.readers as f64)),
                cell(&runs, 0, |run| run.rate),
                cell(&runs, 2, |run| Some(run.latency_us.p50 / 1000.0)),
                cell(&runs, 2, |run| Some(run.latency_us.p99 / 1000.0)),
                cell(&runs, 2, |run| Some(run.latency_us.max / 1000.0)),
                lost.to_string(),
            ]
        })
    };
    let rows = [("live alone", "nobody"), ("live beside", "those below")].into_iter().filter_map(row).collect();
    Table {
        title: "live readers",
        columns: vec![
            "who catches up",
            "readers",
            "messages/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "lost, repeated or late",
        ],
        rows,
    }
}

fn caught(records: &[Record]) -> Table {
    let runs: Vec<&Catchup> =
        of(records, "catch up", None, |run| if let Run::Catchup(run) = run { Some(run) } else { None });
    let row = |run: &&Catchup| {
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        vec![
            megabytes(run.log_bytes),
            run.readers.to_string(),
            format!("{:.0}", run.seconds),
            megabytes(run.least_bytes),
            megabytes(run.most_bytes),
            format!("{:.0}", run.all_bytes as f64 / 1e6 / run.seconds),
        ]
    };
    Table {
        title: "readers that catch up",
        columns: vec!["log, MB", "readers", "seconds", "MB of the slowest", "MB of the fastest", "MB/s of all"],
        rows: runs.iter().map(row).collect(),
    }
}

fn publishing(records: &[Record]) -> Table {
    let row = |(name, at): (&str, u64)| {
        let runs: Vec<&Publish> =
            of(records, name, Some(at), |run| if let Run::Publish(run) = run { Some(run) } else { None });
        (!runs.is_empty()).then(|| {
            vec![
                if name == "memory" { "log in memory".to_owned() } else { format!("`{name}`") },
                at.to_string(),
                cell(&runs, 0, |run| Some(run.requests_per_second)),
                cell(&runs, 0, |run| Some(run.latency_us.p50)),
                cell(&runs, 0, |run| Some(run.latency_us.p99)),
                cell(&runs, 1, |run| run.server_cpu_us_per_request),
            ]
        })
    };
    let names = ["memory", "never", "1s", "always"];
    let mut rows: Vec<_> = [1, 64].iter().flat_map(|at| names.map(|name| (name, *at))).filter_map(row).collect();
    let bare: Vec<&Sync> =
        of(records, "write and fdatasync", None, |run| if let Run::Sync(run) = run { Some(run) } else { None });
    let figure = |of: fn(&Latency) -> f64| spread(&bare.iter().map(|run| of(&run.latency_us)).collect::<Vec<_>>(), 0);
    if !bare.is_empty() {
        let name = "bare write and fdatasync".to_owned();
        rows.push(vec![
            name,
            "1".to_owned(),
            "–".to_owned(),
            figure(|one| one.p50),
            figure(|one| one.p99),
            "–".to_owned(),
        ]);
    }
    Table {
        title: "publishing",
        columns: vec!["`TRIDENT_FSYNC`", "connections", "publishes/s", "p50 µs", "p99 µs", "µs CPU/publish"],
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_run_has_its_table() {
        let latency = r#"{"p50":100.0,"p90":1.0,"p99":2500.0,"p999":1.0,"max":9000.0}"#;
        let share = r#"{"of_core":0.5,"in_kernel":0.25}"#;
        let lines = [
            r#"{"peer":"file","series":{"name":"start","at":7},"scenario":"start","log_bytes":7000000,"seconds":0.5}"#.to_owned(),
            r#"{"peer":"file","series":{"name":"start","at":7},"scenario":"start","log_bytes":7000000,"seconds":0.25}"#.to_owned(),
            format!(
                r#"{{"peer":"file","series":{{"name":"live beside","at":5}},"scenario":"fanout","transport":"sse","readers":10,"channels":1,
                "via":"http","payload":128,"window":9,"rate":100.0,"deliveries":9,"deliveries_per_second":1.0,
                "server_cpu_us_per_delivery":null,"latency_us":{latency},"lost":1,"repeats":0,"late":0,"server":null,"load":{share}}}"#
            ),
            r#"{"peer":"file","series":{"name":"catch up","at":5},"scenario":"catchup","readers":5,"log_bytes":14000000,
                "seconds":2.0,"least_bytes":1000000,"most_bytes":3000000,"all_bytes":10000000}"#
                .to_owned(),
            format!(
                r#"{{"peer":"file","series":{{"name":"1s","at":64}},"scenario":"publish","connections":64,"channels":1,
                "idle_readers":0,"payload":128,"batch":1,"requests_per_second":1000.0,"messages_per_second":1000.0,
                "server_cpu_us_per_request":9.5,"grown_bytes":null,"latency_us":{latency},"server":null,"load":{share}}}"#
            ),
            format!(
                r#"{{"peer":"bare","series":{{"name":"write and fdatasync","at":1}},"scenario":"sync","payload":128,"latency_us":{latency}}}"#
            ),
        ];
        let lines = lines.map(|line| line.replace('\n', "")).join("\n");
        let text = part(&crate::report::read(&lines).unwrap()).text;
        for row in [
            "| 7 (7–7) | 2 | 0.50 (0.25–0.50) |",
            "| those below | 10 | 100 | 0.10 | 2.50 | 9.00 | 1 |",
            "| 14.0 | 5 | 2 | 1.0 | 3.0 | 5 |",
            "| `1s` | 64 | 1000 | 100 | 2500 | 9.5 |",
            "| bare write and fdatasync | 1 | – | 100 | 2500 | – |",
        ] {
            assert!(text.contains(row), "{row} in {text}");
        }
        assert!(part(&[]).text.is_empty());
    }
}
