//! Panels as SVG. Colours of text and lines follow the reader's light or dark page; no fonts, no scripts.

use std::fmt::Write as _;

use super::{
    Panel, Series,
    scale::{Scale, label},
};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 62.0;
/// Where the legend begins.
const RIGHT: f64 = 690.0;
const TOP: f64 = 34.0;
/// Of the curves of a panel, at least; below them is room for the next one's name.
const PANEL: f64 = 120.0;
const BETWEEN: f64 = 34.0;
/// Of a line of the legend.
const LINE: f64 = 15.0;
const BOTTOM: f64 = 22.0;

/// Colours that colour-blind people can distinguish, on white and on black (after Okabe and Ito).
const COLOURS: [&str; 8] = ["#0080c0", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8f8f8f", "#b8a800"];

const STYLE: &str = "text{fill:#24292f}.axis{stroke:#24292f33}.curve{fill:none;stroke-width:1.3;stroke-linejoin:round}\
                     @media(prefers-color-scheme:dark){text{fill:#d0d7de}.axis{stroke:#d0d7de33}}";

/// All panels, one under the other over one axis.
pub(super) fn svg(title: &str, x_name: &str, panels: &[Panel]) -> String {
    let heights: Vec<f64> = panels.iter().map(|panel| PANEL.max(LINE * panel.series.len() as f64)).collect();
    let height = TOP + heights.iter().map(|height| height + BETWEEN).sum::<f64>() + BOTTOM;
    let points = panels.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
    let x = Scale::exact(points.map(|(x, _)| *x), LEFT, RIGHT - 14.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<text x=\"8\" y=\"18\" \
         font-size=\"14\">{0}</text>\n",
        escape(title)
    );
    let mut top = TOP;
    for (panel, height) in panels.iter().zip(heights) {
        one(&mut svg, panel, &x, top + 16.0, top + 16.0 + height);
        top += height + BETWEEN;
    }
    for tick in x.ticks() {
        let at = x.at(tick).unwrap_or(LEFT);
        text(&mut svg, at, top + 6.0, "middle", &label(tick));
    }
    text(&mut svg, RIGHT, top + 6.0, "start", x_name);
    svg + "</svg>\n"
}

/// One panel between these heights.
fn one(svg: &mut String, panel: &Panel, x: &Scale, top: f64, bottom: f64) {
    let values = panel.series.iter().flat_map(|series| &series.points).filter_map(|(_, value)| *value);
    let y = Scale::of(values, panel.is_logarithmic, bottom, top);
    let unit = if panel.unit.is_empty() { String::new() } else { format!(", {}", panel.unit) };
    text(svg, LEFT, top - 6.0, "start", &format!("{}{unit}", panel.name));
    for tick in y.ticks() {
        let at = y.at(tick).unwrap_or(bottom);
        line(svg, &format!("M{LEFT} {at:.1}H{}", RIGHT - 14.0));
        text(svg, LEFT - 6.0, at + 4.0, "end", &label(tick));
    }
    for tick in x.ticks() {
        let at = x.at(tick).unwrap_or(LEFT);
        line(svg, &format!("M{at:.1} {top:.1}V{bottom:.1}"));
    }
    for (number, series) in panel.series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        // The ninth of a colour is another kind of line.
        let dashes = ["", " stroke-dasharray=\"5 3\"", " stroke-dasharray=\"1 2\""][(number / COLOURS.len()) % 3];
        let at = top + 8.0 + LINE * number as f64;
        // A string takes all that is written to it.
        let _ = writeln!(
            svg,
            "<path class=\"curve\" stroke=\"{colour}\"{dashes} d=\"{}\"/>\n<path class=\"curve\" stroke=\"{colour}\"{dashes} \
             d=\"M{RIGHT} {at:.1}h16\"/>",
            path(series, x, &y)
        );
        text(svg, RIGHT + 21.0, at + 4.0, "start", &series.name);
    }
}

/// A curve, with its breaks. A point between two breaks is a dot.
fn path(series: &Series, x: &Scale, y: &Scale) -> String {
    let mut path = String::new();
    let mut is_begun = false;
    for (number, (at, value)) in series.points.iter().enumerate() {
        let place = value.and_then(|value| Some((x.at(*at)?, y.at(value)?)));
        let Some((across, down)) = place else {
            is_begun = false;
            continue;
        };
        // A string takes all that is written to it.
        let _ = write!(path, "{}{across:.1} {down:.1}", if is_begun { 'L' } else { 'M' });
        let next = series.points.get(number + 1).and_then(|(_, value)| value.and_then(|value| y.at(value)));
        if !is_begun && next.is_none() {
            path += "h1";
        }
        is_begun = true;
    }
    path
}

fn line(svg: &mut String, path: &str) {
    let _ = writeln!(svg, "<path class=\"axis\" d=\"{path}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(words));
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(name: &str, points: Vec<(f64, Option<f64>)>) -> Panel {
        let series = vec![Series { name: format!("series of {name}"), points }];
        Panel { name: name.to_owned(), unit: "ms".to_owned(), is_logarithmic: false, series }
    }

    #[test]
    fn names_cannot_be_markup() {
        let svg = svg("<a>", "\"s\"", &[panel("</svg><script>&", vec![(0.0, Some(1.0))])]);
        assert!(!svg.contains("<script") && !svg.contains("<a>"), "{svg}");
        assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;&amp;, ms") && svg.contains("&quot;s&quot;"), "{svg}");
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn curves_have_breaks_and_lone_points_are_seen() {
        let x = Scale::exact([0.0, 4.0].into_iter(), 0.0, 40.0);
        let y = Scale::of([0.0, 4.0].into_iter(), false, 40.0, 0.0);
        let points = vec![(0.0, Some(0.0)), (1.0, Some(4.0)), (2.0, None), (3.0, Some(2.0)), (4.0, None)];
        let curve = path(&Series { name: String::new(), points }, &x, &y);
        assert_eq!(curve, "M0.0 40.0L10.0 0.0M30.0 20.0h1");
    }

    #[test]
    fn a_plot_of_nothing_is_a_plot() {
        for panels in [vec![], vec![panel("empty", vec![])], vec![panel("broken", vec![(0.0, None)])]] {
            let svg = svg("nothing", "s", &panels);
            assert!(
                svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf")
            );
        }
    }

    #[test]
    fn it_is_read_on_light_and_on_dark() {
        assert!(svg("", "", &[]).contains("prefers-color-scheme:dark"));
    }
}
