//! Curves over one axis, panel under panel, from lines of JSON.
//!
//! A line of the input is one point:
//!
//! ```json
//! {"panel": "memory", "unit": "MiB", "series": "sse-svc 0", "x": 12, "y": 19.5}
//! ```
//!
//! Panels and series appear in the order in which they are first named. A `y` of `null` is a break in the curve. `"log": true` at any point
//! of a panel makes its axis logarithmic; values that are not positive are then a break as well. The same input gives the same bytes.

use std::io::{self, BufRead};

use serde::Deserialize;

use crate::chart::{self, Curve, Panel};

/// One line of the input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    panel: String,
    #[serde(default)]
    unit: String,
    series: String,
    x: f64,
    y: Option<f64>,
    #[serde(default)]
    log: bool,
}

/// The plot of `lines`, with this title and this name of the horizontal axis.
///
/// # Errors
/// When a line is no point, or cannot be read.
pub(crate) fn plot(title: &str, x_name: &str, lines: impl BufRead) -> io::Result<String> {
    Ok(chart::panels(title, x_name, &panels(lines)?))
}

fn panels(lines: impl BufRead) -> io::Result<Vec<Panel>> {
    let mut panels: Vec<Panel> = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let point: Point = serde_json::from_str(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", number + 1)))?;
        add(&mut panels, point);
    }
    Ok(panels)
}

fn add(panels: &mut Vec<Panel>, point: Point) {
    let at = panels.iter().position(|panel| panel.name == point.panel).unwrap_or_else(|| {
        panels.push(Panel { name: point.panel, unit: point.unit, is_logarithmic: false, curves: Vec::new() });
        panels.len() - 1
    });
    let panel = &mut panels[at];
    panel.is_logarithmic |= point.log;
    let at = panel.curves.iter().position(|curve| curve.name == point.series).unwrap_or_else(|| {
        panel.curves.push(Curve { name: point.series, points: Vec::new() });
        panel.curves.len() - 1
    });
    panel.curves[at].points.push((point.x, point.y));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"panel":"b","unit":"MiB","series":"one","x":0,"y":1.5}
{"panel":"a","series":"two","x":0,"y":2,"log":true}

{"panel":"b","series":"one","x":1,"y":null}
"#;

    #[test]
    fn points_are_sorted_by_panel_and_series_in_the_order_they_came() {
        let panels = panels(LINES.as_bytes()).unwrap();
        let curves = |name: &str, points| vec![Curve { name: name.to_owned(), points }];
        let panel = |name: &str, unit: &str, is_logarithmic, curves| Panel {
            name: name.to_owned(),
            unit: unit.to_owned(),
            is_logarithmic,
            curves,
        };
        let expected = [
            panel("b", "MiB", false, curves("one", vec![(0.0, Some(1.5)), (1.0, None)])),
            panel("a", "", true, curves("two", vec![(0.0, Some(2.0))])),
        ];
        assert_eq!(panels, expected);
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        for line in ["{}", "5", r#"{"panel":"a","series":"b","x":1,"y":2,"colour":"red"}"#] {
            let text = format!("{LINES}{line}");
            let error = plot("", "", text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("line 5: "), "{error}");
        }
    }

    #[test]
    fn the_same_input_gives_the_same_plot() {
        let one = plot("a & b", "s", LINES.as_bytes()).unwrap();
        assert_eq!(one, plot("a & b", "s", LINES.as_bytes()).unwrap());
        assert!(one.contains("a &amp; b"));
    }
}
