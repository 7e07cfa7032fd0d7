//! The same for people: one table for each scenario, as columns for a terminal or in Markdown.

use std::fmt::Write as _;

use crate::{
    peer::Peer,
    report::{Fanout, Idle, Publish, Record, Sequential},
    summary::{Figure, Runs, Sorted, figures, is_same_load, kinds, middle, ratios, rounds, spread},
};

/// Rows of as many cells as there are columns.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// For a terminal.
    pub(crate) fn plain(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            cells.collect::<Vec<_>>().join("  ") + "\n"
        };
        let mut text = format!("\n{}\n{}", self.title, line(&mut self.columns.iter().copied()));
        self.rows.iter().for_each(|row| text += &line(&mut row.iter().map(String::as_str)));
        text
    }

    /// For a document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|{}\n", self.columns.join(" | "), " --- |".repeat(self.columns.len()));
        for row in &self.rows {
            // A string takes all that is written to it.
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// The tables of all `records`, for a terminal.
pub(crate) fn text(records: &[Record]) -> String {
    let sorted = Sorted::of(records);
    let tables = [idle(&sorted.idle), fanout(&sorted.fanout), sequential(&sorted.sequential), publish(&sorted.publish)];
    tables.iter().filter(|table| !table.rows.is_empty()).map(Table::plain).collect()
}

/// Connections that wait.
pub(crate) fn idle(runs: &Runs<'_, Idle>) -> Table {
    let row = |(peer, kind): (Peer, &Idle)| {
        let rounds = rounds(runs, peer, kind);
        let cell = |figure: Figure<Idle>, digits| spread(&figures(&rounds, figure), digits);
        vec![
            peer.name().to_owned(),
            kind.transport.name().to_owned(),
            kind.connections.to_string(),
            cell(Idle::kilobytes, 2),
            cell(|run| Some(run.kernel_bytes_per_connection / 1000.0), 1),
            cell(|run| Some(run.connects_per_second), 0),
            cell(|run| run.server_cpu_us_per_connect, 1),
            cell(|run| Some(run.load.of_core * 100.0), 0) + " %",
        ]
    };
    Table {
        title: "idle connections, after they came: each, in decimal kB",
        columns: vec![
            "server",
            "transport",
            "connections",
            "server kB",
            "kernel kB, both ends",
            "connects/s",
            "µs CPU/connect",
            "load CPU",
        ],
        rows: kinds(runs).into_iter().map(row).collect(),
    }
}

/// Messages to many.
pub(crate) fn fanout(runs: &Runs<'_, Fanout>) -> Table {
    let row = |(peer, kind): (Peer, &Fanout)| {
        let of_kind = rounds(runs, peer, kind);
        // The n-th round of a kind belongs to the n-th round of the bare limit under the same load.
        let bare: Vec<&Fanout> = runs
            .iter()
            .filter(|(peer, run)| *peer == Peer::Bare && is_same_load(run, kind))
            .map(|(_, run)| *run)
            .collect();
        let cell = |figure: Figure<Fanout>, digits| middle(&figures(&of_kind, figure), digits);
        let sum = |value: fn(&Fanout) -> u64| of_kind.iter().map(|run| value(run)).sum::<u64>();
        vec![
            peer.name().to_owned(),
            kind.transport.name().to_owned(),
            kind.readers.to_string(),
            kind.rate.map_or_else(|| kind.window.to_string(), |rate| format!("{rate}/s")),
            cell(|run| Some(run.deliveries_per_second), 0),
            spread(&figures(&of_kind, Fanout::cpu), 2),
            spread(&ratios(&of_kind, &bare, Fanout::cpu), 2),
            cell(|run| Some(run.latency_us.p50 / 1000.0), 2),
            cell(|run| Some(run.latency_us.p99 / 1000.0), 2),
            cell(|run| Some(run.latency_us.p999 / 1000.0), 1),
            cell(|run| Some(run.latency_us.max / 1000.0), 1),
            format!("{}/{}/{}", sum(|run| run.lost), sum(|run| run.repeats), sum(|run| run.late)),
            cell(|run| Some(run.load.of_core * 100.0), 0) + " %",
        ]
    };
    Table {
        title: "fan-out: medians, and in parentheses from the least to the most of all rounds",
        columns: vec![
            "server",
            "transport",
            "readers",
            "window",
            "deliveries/s",
            "µs CPU/delivery",
            "÷ bare, paired",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "lost/repeated/late",
            "load CPU",
        ],
        rows: kinds(runs).into_iter().map(row).collect(),
    }
}

/// Messages to many, one after the other.
pub(crate) fn sequential(runs: &Runs<'_, Sequential>) -> Table {
    let row = |(peer, kind): (Peer, &Sequential)| {
        let rounds = rounds(runs, peer, kind);
        let cell = |figure: Figure<Sequential>, digits| spread(&figures(&rounds, figure), digits);
        vec![
            peer.name().to_owned(),
            kind.transport.name().to_owned(),
            kind.readers.to_string(),
            kind.burst.to_string(),
            cell(|run| run.server_cpu_us_per_delivery, 2),
            cell(|run| Some(run.all_us.p50 / 1000.0), 2),
            cell(|run| Some(run.answers_us.p50 / 1000.0), 3),
            cell(|run| Some(run.answers_us.p99 / 1000.0), 3),
            cell(|run| Some(run.load.of_core * 100.0), 0) + " %",
        ]
    };
    Table {
        title: "sequential: one publisher that waits for each answer",
        columns: vec![
            "server",
            "transport",
            "readers",
            "burst",
            "µs CPU/delivery",
            "all have all, p50 ms",
            "answer p50 ms",
            "answer p99 ms",
            "load CPU",
        ],
        rows: kinds(runs).into_iter().map(row).collect(),
    }
}

/// Requests that publish, to nobody.
pub(crate) fn publish(runs: &Runs<'_, Publish>) -> Table {
    let row = |(peer, kind): (Peer, &Publish)| {
        let rounds = rounds(runs, peer, kind);
        let cell = |figure: Figure<Publish>, digits| spread(&figures(&rounds, figure), digits);
        vec![
            peer.name().to_owned(),
            kind.connections.to_string(),
            kind.channels.to_string(),
            kind.batch.to_string(),
            cell(|run| Some(run.requests_per_second), 0),
            middle(&figures(&rounds, |run| Some(run.messages_per_second)), 0),
            cell(|run| run.server_cpu_us_per_request, 1),
            cell(|run| Some(run.latency_us.p50), 0),
            cell(|run| Some(run.latency_us.p99), 0),
            middle(&figures(&rounds, |run| Some(run.server?.of_core * 100.0)), 0) + " %",
            middle(&figures(&rounds, |run| Some(run.load.of_core * 100.0)), 0) + " %",
        ]
    };
    Table {
        title: "publishing over HTTP, nobody reads",
        columns: vec![
            "server",
            "connections",
            "channels",
            "messages/request",
            "requests/s",
            "messages/s",
            "µs CPU/request",
            "p50 µs",
            "p99 µs",
            "server CPU",
            "load CPU",
        ],
        rows: kinds(runs).into_iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_columns_or_markdown() {
        let rows = vec![vec!["1".to_owned(), "µ".to_owned()], vec!["234".to_owned(), "5".to_owned()]];
        let table = Table { title: "of two", columns: vec!["a", "bcd"], rows };
        assert_eq!(table.plain(), "\nof two\n  a  bcd\n  1    µ\n234    5\n");
        assert_eq!(table.markdown(), "| a | bcd |\n| --- | --- |\n| 1 | µ |\n| 234 | 5 |\n");
    }
}
