//! The same for people: one table for each scenario, runs of one kind told by their median and spread.

use std::fmt::Write as _;

use crate::{
    reader::Transport,
    report::{Fanout, Idle, Publish, Run},
};

/// The tables of all `runs`.
pub(crate) fn text(runs: &[Run]) -> String {
    let mut text = String::new();
    let (mut idle, mut fanout, mut publish) = (Vec::new(), Vec::new(), Vec::new());
    for run in runs {
        match run {
            Run::Idle(run) => idle.push(run),
            Run::Fanout(run) => fanout.push(run),
            Run::Publish(run) => publish.push(run),
        }
    }
    // A string takes all that is written to it.
    let _ = (write_idle(&mut text, &idle), write_fanout(&mut text, &fanout), write_publish(&mut text, &publish));
    text
}

/// `a`, or a dash where it could not be measured.
fn known(a: Option<f64>, digits: usize) -> String {
    a.map_or_else(|| "–".to_owned(), |a| format!("{a:.digits$}"))
}

fn write_idle(text: &mut String, runs: &[&Idle]) -> std::fmt::Result {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nidle connections, after they came: each, in decimal kB")?;
    writeln!(
        text,
        "{:<10} {:>11} {:>11} {:>13} {:>11} {:>14} {:>8}",
        "transport", "connections", "server kB", "kernel kB x2", "connects/s", "us CPU/connect", "load CPU"
    )?;
    for run in runs {
        writeln!(
            text,
            "{:<10} {:>11} {:>11} {:>13.1} {:>11.0} {:>14} {:>7.0}%",
            run.transport.name(),
            run.connections,
            known(run.resident_bytes_per_connection.map(|bytes| bytes / 1000.0), 2),
            run.kernel_bytes_per_connection / 1000.0,
            run.connects_per_second,
            known(run.server_cpu_us_per_connect, 1),
            run.load.of_core * 100.0,
        )?;
    }
    Ok(())
}

/// Runs that differ in nothing that was asked for.
fn alike(a: &Fanout, b: &Fanout) -> bool {
    (a.transport, a.readers, a.channels, a.via, a.payload, a.window, a.rate)
        == (b.transport, b.readers, b.channels, b.via, b.payload, b.window, b.rate)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The middle of `values`, and from where to where they go when there are several.
fn spread(values: &[f64], digits: usize) -> String {
    let Some(middle) = median(values.iter().copied()) else { return "–".to_owned() };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    if values.len() == 1 {
        return format!("{middle:.digits$}");
    }
    format!("{middle:.digits$} ({low:.digits$}-{high:.digits$})")
}

fn write_fanout(text: &mut String, runs: &[&Fanout]) -> std::fmt::Result {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nfan-out: medians, and in parentheses from the least to the most of all rounds")?;
    writeln!(
        text,
        "{:<10} {:>7} {:>7} {:>12} {:>21} {:>18} {:>8} {:>8} {:>8} {:>9} {:>14} {:>9}",
        "transport",
        "readers",
        "window",
        "deliveries/s",
        "us CPU/delivery",
        "/ bare, paired",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "lost/rep./late",
        "load CPU"
    )?;
    let mut kinds: Vec<&Fanout> = Vec::new();
    for run in runs {
        if !kinds.iter().any(|kind| alike(kind, run)) {
            kinds.push(run);
        }
    }
    for kind in kinds {
        let of_kind: Vec<&Fanout> = runs.iter().copied().filter(|run| alike(kind, run)).collect();
        let middle = |value: fn(&Fanout) -> f64| median(of_kind.iter().map(|run| value(run))).unwrap_or_default();
        let cpu: Vec<f64> = of_kind.iter().filter_map(|run| run.server_cpu_us_per_delivery).collect();
        // The n-th run of a kind belongs to the n-th bare run with the same window.
        let bare = runs
            .iter()
            .filter(|run| run.transport == Transport::Bare && run.window == kind.window && run.readers == kind.readers);
        let bare: Vec<f64> = bare.filter_map(|run| run.server_cpu_us_per_delivery).collect();
        let ratios: Vec<f64> = cpu.iter().zip(&bare).map(|(cpu, bare)| cpu / bare).collect();
        let sum = |value: fn(&Fanout) -> u64| of_kind.iter().map(|run| value(run)).sum::<u64>();
        writeln!(
            text,
            "{:<10} {:>7} {:>7} {:>12.0} {:>21} {:>18} {:>8.0} {:>8.0} {:>8.0} {:>9.0} {:>14} {:>8.0}%",
            kind.transport.name(),
            kind.readers,
            kind.rate.map_or_else(|| kind.window.to_string(), |rate| format!("{rate}/s")),
            middle(|run| run.deliveries_per_second),
            spread(&cpu, 2),
            spread(&ratios, 2),
            middle(|run| run.latency_us.p50),
            middle(|run| run.latency_us.p99),
            middle(|run| run.latency_us.p999),
            middle(|run| run.latency_us.max),
            format!("{}/{}/{}", sum(|run| run.lost), sum(|run| run.repeats), sum(|run| run.late)),
            middle(|run| run.load.of_core) * 100.0,
        )?;
    }
    Ok(())
}

fn write_publish(text: &mut String, runs: &[&Publish]) -> std::fmt::Result {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(text, "\npublishing over HTTP, nobody reads")?;
    writeln!(
        text,
        "{:>11} {:>7} {:>11} {:>11} {:>14} {:>8} {:>8} {:>10} {:>8}",
        "connections",
        "batch",
        "requests/s",
        "messages/s",
        "us CPU/request",
        "p50 us",
        "p99 us",
        "server CPU",
        "load CPU"
    )?;
    for run in runs {
        writeln!(
            text,
            "{:>11} {:>7} {:>11.0} {:>11.0} {:>14} {:>8.0} {:>8.0} {:>10} {:>7.0}%",
            run.connections,
            run.batch,
            run.requests_per_second,
            run.messages_per_second,
            known(run.server_cpu_us_per_request, 1),
            run.latency_us.p50,
            run.latency_us.p99,
            run.server.map_or_else(|| "–".to_owned(), |share| format!("{:.0}%", share.of_core * 100.0)),
            run.load.of_core * 100.0,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_runs_are_told_by_their_middle_and_their_ends() {
        assert_eq!(spread(&[], 1), "–");
        assert_eq!(spread(&[2.0], 1), "2.0");
        assert_eq!(spread(&[3.0, 1.0, 2.0], 1), "2.0 (1.0-3.0)");
    }
}
