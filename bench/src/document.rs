//! Writes results into a document: tables between two marks, plots as files next to it.
//!
//! No figure is copied by hand, and each belongs to a run whose lines are stored.

mod disk;
mod growth;
mod peers;

use std::{fs, io, path::Path};

use crate::{
    cli::Section,
    report::{Fanout, Idle, Record},
    summary::Sorted,
    table::{self, Table},
};

/// A plot, and the name of its file without the ending.
type Plot = (String, String);

/// What goes into a document.
#[derive(Default)]
struct Part {
    text: String,
    plots: Vec<Plot>,
}

impl Part {
    fn table(&mut self, heading: &str, table: &Table) {
        if !table.rows.is_empty() {
            self.text += &format!("\n### {heading}\n\n{}", table.markdown());
        }
    }

    fn plot(&mut self, name: &str, about: &str, svg: String) {
        self.text += &format!("\n![{about}](plots/{name}.svg)\n");
        self.plots.push((name.to_owned(), svg));
    }
}

/// Writes what `records` say into the document at `path`, and plots into the directory `plots` beside it.
///
/// # Errors
/// When the document has no such section, or cannot be written.
pub(crate) fn write(path: &Path, section: Section, note: Option<&str>, records: &[Record]) -> io::Result<()> {
    let (name, part) = match section {
        Section::Suite => ("suite", suite(records)),
        Section::Peers => ("peers", peers::part(records)),
        Section::Streams => ("streams", peers::streams(records)),
        Section::Growth => ("growth", growth::part(records)),
        Section::Disk => ("disk", disk::part(records)),
    };
    let document = fs::read_to_string(path)?;
    let missing = || io::Error::other(format!("{} has no section {name}", path.display()));
    let document = fill(&document, name, &format!("{}{}", said(note), part.text)).ok_or_else(missing)?;
    let directory = path.parent().unwrap_or(Path::new(".")).join("plots");
    fs::create_dir_all(&directory)?;
    for (name, svg) in part.plots {
        fs::write(directory.join(name + ".svg"), svg)?;
    }
    fs::write(path, document)
}

/// The paragraph of `note`.
fn said(note: Option<&str>) -> String {
    note.filter(|note| !note.trim().is_empty()).map(|note| format!("\n{}\n", note.trim())).unwrap_or_default()
}

/// `document` with `text` between the marks of the section `name`, if it has them.
fn fill(document: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, behind) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{text}\n{end}{behind}"))
}

fn suite(records: &[Record]) -> Part {
    let sorted = Sorted::of(records);
    let mut part = Part::default();
    part.table("Idle connections", &table::idle(&sorted.idle));
    let memory = peers::bars("Resident memory, each idle connection", "kB", &sorted.idle, |_| true, Idle::kilobytes);
    part.plot("memory", "Resident memory for each idle connection", memory);
    part.table("Messages to many", &table::fanout(&sorted.fanout));
    let cpu = "Server CPU, each delivery";
    let is_one: fn(&Fanout) -> bool = |run| peers::in_flight(run, 1);
    let one = peers::bars(&format!("{cpu}, one message in flight"), "µs", &sorted.fanout, is_one, Fanout::cpu);
    part.plot("window-1", "Processor time for each delivery, one message in flight", one);
    let is_many: fn(&Fanout) -> bool = |run| peers::in_flight(run, 32);
    let many = peers::bars(&format!("{cpu}, 32 in flight"), "µs", &sorted.fanout, is_many, Fanout::cpu);
    part.plot("window-32", "Processor time for each delivery, 32 messages in flight", many);
    part.table("Messages to nobody", &table::publish(&sorted.publish));
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let document = "a\n<!-- measured: x -->\nold\n<!-- end of x -->\nb\n<!-- measured: y -->\n<!-- end of y -->\n";
        let once = fill(document, "x", "new\n").unwrap();
        assert_eq!(once, document.replace("old\n", "new\n\n"));
        assert_eq!(fill(&once, "x", "new\n").unwrap(), once);
        assert!(fill(document, "z", "").is_none());
        assert_eq!(
            (said(None), said(Some(" ")), said(Some("quiet"))),
            (String::new(), String::new(), "\nquiet\n".into())
        );
    }
}
