//! Plots as SVG: bars on a line from nothing, curves on two logarithmic axes. No fonts, no scripts; both read well on white
//! and on black.

use std::fmt::Write as _;

/// A line through points, or a bar.
pub(crate) struct Curve {
    pub(crate) name: String,
    /// All above nothing.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Colours that colour-blind people can distinguish (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#f0e442"];
const WIDTH: f64 = 720.0;

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

fn open(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" \
         fill=\"#888\" role=\"img\">\n<title>{0}</title>\n<text x=\"8\" y=\"18\" font-size=\"14\">{0}</text>\n",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number as people write it on an axis.
fn short(number: f64) -> String {
    match number {
        _ if number >= 1e6 => format!("{}M", trimmed(number / 1e6)),
        _ if number >= 1e3 => format!("{}k", trimmed(number / 1e3)),
        _ => trimmed(number),
    }
}

fn trimmed(number: f64) -> String {
    let text = if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A bar for each of `bars`, by the group that its name begins with, up to `: `.
pub(crate) fn bars(title: &str, unit: &str, bars: &[(String, f64)]) -> String {
    const LEFT: f64 = 230.0;
    const STEP: f64 = 22.0;
    let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut groups: Vec<&str> = Vec::new();
    let mut svg = open(40.0 + STEP * bars.len() as f64, &format!("{title} ({unit})"));
    for (number, (name, value)) in bars.iter().enumerate() {
        let group = name.split(": ").next().unwrap_or_default();
        let at = groups.iter().position(|known| *known == group).unwrap_or_else(|| {
            groups.push(group);
            groups.len() - 1
        });
        let (y, length) = (30.0 + STEP * number as f64, value / most * (WIDTH - LEFT - 80.0));
        // A string takes all that is written to it.
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{text_y}\" text-anchor=\"end\">{name}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" \
             height=\"16\" fill=\"{colour}\"/><text x=\"{end:.1}\" y=\"{text_y}\">{value}</text>",
            x = LEFT - 8.0,
            text_y = y + 12.0,
            name = escape(name),
            colour = colour(at),
            end = LEFT + length + 6.0,
            value = short(*value),
        );
    }
    svg + "</svg>\n"
}

/// One logarithmic axis: whole powers of ten around what there is.
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor() as i32;
        let high = values.fold(0.0, f64::max).log10().ceil() as i32;
        Self { low, high: high.max(low + 1), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + part * (self.to - self.from)
    }
}

/// A curve for each of `curves`.
pub(crate) fn curves(title: &str, x_name: &str, curves: &[Curve]) -> String {
    const HEIGHT: f64 = 360.0;
    let mut svg = open(HEIGHT, title);
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    if points().next().is_none() {
        return svg + "</svg>\n";
    }
    let x = Axis::around(points().map(|(x, _)| x), 60.0, WIDTH - 190.0);
    let y = Axis::around(points().map(|(_, y)| y), HEIGHT - 50.0, 34.0);
    // A string takes all that is written to it.
    for power in x.low..=x.high {
        let (at, label) = (x.at(10_f64.powi(power)), short(10_f64.powi(power)));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#8884\"/><text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>",
            top = y.to,
            bottom = y.from,
            below = y.from + 18.0,
        );
    }
    for power in y.low..=y.high {
        let (at, label) = (y.at(10_f64.powi(power)), short(10_f64.powi(power)));
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#8884\"/><text x=\"{before}\" y=\"{below:.1}\" text-anchor=\"end\">{label}</text>",
            left = x.from,
            right = x.to,
            before = x.from - 6.0,
            below = at + 4.0,
        );
    }
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}</text>", x.from, HEIGHT - 10.0, escape(x_name));
    for (number, curve) in curves.iter().enumerate() {
        let colour = colour(number);
        let line: Vec<String> =
            curve.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x.at(*at), y.at(*value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for point in &line {
            let _ = writeln!(
                svg,
                "<circle cx=\"{}\" cy=\"{}\" r=\"3\" fill=\"{colour}\"/>",
                point.split(',').next().unwrap_or_default(),
                point.split(',').nth(1).unwrap_or_default()
            );
        }
        let at = 46.0 + 18.0 * number as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{at}\">{}</text>",
            x.to + 14.0,
            at - 9.0,
            x.to + 30.0,
            escape(&curve.name)
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [(0.37, "0.37"), (10.0, "10"), (999.6, "1000"), (19_000.0, "19k"), (1.5e6, "1.5M")] {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn the_longest_bar_has_all_the_room_and_a_name_is_no_markup() {
        let svg = bars("t", "µs", &[("a<b: x".into(), 2.0), ("c: y".into(), 4.0), ("c: z".into(), 1.0)]);
        for part in ["a&lt;b: x", "width=\"410.0\"", "width=\"205.0\"", "width=\"102.5\""] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(svg.matches(COLOURS[1]).count(), 2, "{svg}");
    }

    #[test]
    fn curves_stay_between_their_axes() {
        let points = vec![(100.0, 0.5), (1000.0, 50.0), (19_000.0, 9.0)];
        let svg = curves("t", "readers", &[Curve { name: "n".into(), points }]);
        assert!(svg.contains("<polyline points=\"60.0,"), "{svg}");
        let x = Axis::around([100.0, 19_000.0].into_iter(), 60.0, 530.0);
        assert_eq!((x.low, x.high, x.at(100.0), x.at(100_000.0)), (2, 5, 60.0, 530.0));
        assert!(curves("t", "x", &[]).ends_with("</svg>\n"));
    }
}
