//! Plots as SVG, drawn by the crate plotters: bars, curves on two logarithmic axes, and panels over one axis.
//!
//! A logarithmic axis is a linear one of the logarithms, with the values as labels.

use std::ops::Range;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// A line through points; no value is a break.
#[derive(Debug, PartialEq)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// Curves over one pair of axes.
#[derive(Debug, PartialEq)]
pub(crate) struct Panel {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) is_logarithmic: bool,
    pub(crate) curves: Vec<Curve>,
}

/// Colours that colour-blind people can distinguish (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(143, 143, 143),
    RGBColor(184, 168, 0),
];
const WIDTH: u32 = 860;
/// The height of the name of a plot.
const TITLE: u32 = 30;
/// The height of a panel.
const PANEL: u32 = 170;
/// The width of the names of curves, right of them.
const LEGEND: u32 = 190;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// A plot of this height below its title.
fn plot(title: &str, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height + TITLE)).into_drawing_area();
        let drawn = area
            .fill(&WHITE)
            .and_then(|()| area.draw_text(title, &("sans-serif", 15).into_text_style(&area), (8, 8)))
            .and_then(|()| draw(&area.margin(TITLE, 0, 0, 0)))
            .and_then(|()| area.present());
        drawn.expect("a text takes all that is written to it");
    }
    svg
}

/// A bar for each of `bars`, coloured by the group that its name begins with, up to `: `.
pub(crate) fn bars(title: &str, unit: &str, bars: &[(String, f64)]) -> String {
    const STEP: i32 = 22;
    const LEFT: i32 = 230;
    let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut groups: Vec<&str> = Vec::new();
    plot(&format!("{title} ({unit})"), 8 + STEP as u32 * bars.len() as u32, |area| {
        let style = ("sans-serif", 12).into_text_style(area);
        for (row, (name, value)) in (0..).zip(bars) {
            let group = name.split(": ").next().unwrap_or_default();
            let at = groups.iter().position(|known| *known == group).unwrap_or_else(|| {
                groups.push(group);
                groups.len() - 1
            });
            let (top, end) = (row * STEP, LEFT + (value / most * f64::from(WIDTH as i32 - LEFT - 80)) as i32);
            area.draw_text(name, &style.pos(Pos::new(HPos::Right, VPos::Top)), (LEFT - 8, top + 2))?;
            area.draw(&Rectangle::new([(LEFT, top), (end, top + 16)], colour(at).filled()))?;
            area.draw_text(&label(*value), &style, (end + 6, top + 2))?;
        }
        Ok(())
    })
}

/// Curves on two logarithmic axes.
pub(crate) fn curves(title: &str, x_name: &str, curves: &[Curve]) -> String {
    let x = Axis::of(curves.iter().flat_map(|curve| &curve.points).map(|(x, _)| *x), true);
    plot(title, 2 * PANEL, |area| draw(area, &x, Some(x_name), true, curves))
}

/// Panels, one under the other, over one axis.
pub(crate) fn panels(title: &str, x_name: &str, panels: &[Panel]) -> String {
    let points = panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    let x = Axis::of(points.map(|(x, _)| *x), false);
    plot(title, PANEL * panels.len() as u32, |area| {
        let rows = area.split_evenly((panels.len().max(1), 1));
        for (number, (panel, row)) in panels.iter().zip(&rows).enumerate() {
            let unit = if panel.unit.is_empty() { String::new() } else { format!(", {}", panel.unit) };
            row.draw_text(&format!("{}{unit}", panel.name), &("sans-serif", 12).into_text_style(row), (8, 2))?;
            let x_name = (number + 1 == panels.len()).then_some(x_name);
            draw(&row.margin(16, 0, 0, 0), &x, x_name, panel.is_logarithmic, &panel.curves)?;
        }
        Ok(())
    })
}

/// The values of an axis, from a whole power of ten to another if it is logarithmic.
struct Axis {
    range: Range<f64>,
    is_logarithmic: bool,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, is_logarithmic: bool) -> Self {
        let mut range = f64::INFINITY..f64::NEG_INFINITY;
        let axis = Self { range: 0.0..1.0, is_logarithmic };
        for value in values.filter_map(|value| axis.at(value)) {
            range = range.start.min(value)..range.end.max(value);
        }
        if range.start > range.end {
            return axis;
        }
        if is_logarithmic {
            range = range.start.floor()..range.end.ceil();
        }
        if range.start == range.end {
            range.end += 1.0;
        }
        Self { range, is_logarithmic }
    }

    /// The place of a value; `None` if the axis does not have it.
    fn at(&self, value: f64) -> Option<f64> {
        let place = if self.is_logarithmic { value.log10() } else { value };
        place.is_finite().then_some(place)
    }

    fn label(&self, place: f64) -> String {
        label(if self.is_logarithmic { 10_f64.powf(place) } else { place })
    }

    fn labels(&self) -> usize {
        if self.is_logarithmic { (self.range.end - self.range.start) as usize + 1 } else { 6 }
    }
}

fn draw(area: &Area<'_>, x: &Axis, x_name: Option<&str>, is_logarithmic: bool, curves: &[Curve]) -> Drawn {
    let values = || curves.iter().flat_map(|curve| &curve.points).filter_map(|(_, value)| *value);
    let mut y = Axis::of(values(), is_logarithmic);
    if !is_logarithmic {
        y.range.start = y.range.start.min(0.0);
    }
    let (left, legend) = area.split_horizontally(WIDTH - LEGEND);
    let mut chart = ChartBuilder::on(&left)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(if x_name.is_some() { 34 } else { 16 })
        .y_label_area_size(52)
        .build_cartesian_2d(x.range.clone(), y.range.clone())?;
    let mut mesh = chart.configure_mesh();
    let (x_label, y_label) = (|place: &f64| x.label(*place), |place: &f64| y.label(*place));
    mesh.x_labels(x.labels()).y_labels(y.labels()).x_label_formatter(&x_label).y_label_formatter(&y_label);
    mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.15));
    if let Some(name) = x_name {
        mesh.x_desc(name);
    }
    mesh.draw()?;
    let style = ("sans-serif", 12).into_text_style(&legend);
    for (number, curve) in curves.iter().enumerate() {
        let colour = colour(number);
        let places: Vec<_> = curve.points.iter().map(|(at, value)| Some((x.at(*at)?, y.at((*value)?)?))).collect();
        for run in places.split(Option::is_none) {
            let run: Vec<_> = run.iter().flatten().copied().collect();
            match run[..] {
                [] => {}
                // A point between two breaks.
                [point] => drop(chart.draw_series([Circle::new(point, 2, colour.filled())])?),
                _ => drop(chart.draw_series(LineSeries::new(run, colour.stroke_width(2)))?),
            }
        }
        let top = 8 + 15 * number as i32;
        legend.draw(&Rectangle::new([(0, top), (12, top + 8)], colour.filled()))?;
        legend.draw_text(&curve.name, &style, (18, top - 2))?;
    }
    Ok(())
}

/// A number as people write it on an axis.
fn label(number: f64) -> String {
    let (number, unit) = match number.abs() {
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: Vec<(f64, Option<f64>)>) -> Curve {
        Curve { name: "</svg><script>&".to_owned(), points }
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [(0.37, "0.37"), (10.0, "10"), (999.6, "1000"), (19_000.0, "19k"), (1.5e6, "1.5M")] {
            assert_eq!(label(number), text);
        }
    }

    #[test]
    fn every_plot_is_drawn_and_names_are_not_markup() {
        let broken = vec![(100.0, Some(0.5)), (1_000.0, None), (10_000.0, Some(9.0)), (19_000.0, Some(f64::NAN))];
        let panel = |curves, is_logarithmic| Panel { name: "a<b".into(), unit: "ms".into(), is_logarithmic, curves };
        for svg in [
            bars("a<b", "µs", &[("</svg><script>&: x".into(), 2.0), ("c: y".into(), 4.0)]),
            bars("nothing", "µs", &[]),
            curves("a<b", "readers", &[curve(broken.clone()), curve(Vec::new())]),
            curves("nothing", "readers", &[]),
            panels("a<b", "s", &[panel(vec![curve(broken.clone())], false), panel(vec![curve(broken)], true)]),
            panels("nothing", "s", &[]),
            panels("nothing", "s", &[panel(Vec::new(), true), panel(vec![curve(vec![(0.0, None)])], false)]),
        ] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
            assert!(!svg.contains("<script") && !svg.contains("a<b") && !svg.contains("NaN"), "{svg}");
            assert_eq!(svg.matches("</svg>").count(), 1);
        }
    }

    #[test]
    fn axes_contain_their_values() {
        let logarithmic = Axis::of([0.3, 0.0, 250.0].into_iter(), true);
        assert_eq!((logarithmic.range.clone(), logarithmic.labels()), (-1.0..3.0, 5));
        assert_eq!((logarithmic.at(0.0), logarithmic.label(-1.0)), (None, "0.1".to_owned()));
        assert_eq!(Axis::of([5.0].into_iter(), false).range, 5.0..6.0);
        assert_eq!(Axis::of([f64::NAN].into_iter(), false).range, 0.0..1.0);
    }
}
