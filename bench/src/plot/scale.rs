//! Positions of values on an axis, and the values that are labelled.

/// One axis, from its least to its greatest value, over pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_logarithmic: bool,
}

impl Scale {
    /// An axis for `values` between these pixels: from nothing or below to a whole step above them, or from a power of ten to
    /// another.
    pub(super) fn of(values: impl Iterator<Item = f64>, is_logarithmic: bool, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && (!is_logarithmic || *value > 0.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            let low = if is_logarithmic { 1.0 } else { 0.0 };
            return Self { low, high: low + 9.0, from, to, is_logarithmic };
        }
        if is_logarithmic {
            let low_power = low.log10().floor();
            let high_power = high.log10().ceil().max(low_power + 1.0);
            return Self { low: 10_f64.powf(low_power), high: 10_f64.powf(high_power), from, to, is_logarithmic };
        }
        let low = low.min(0.0);
        let high = if high > low { high } else { low + 1.0 };
        let step = step(high - low);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, from, to, is_logarithmic }
    }

    /// The same, but ending with the values: for time, which is followed by nothing.
    pub(super) fn exact(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low < high {
            return Self { low, high, from, to, is_logarithmic: false };
        }
        let low = if low.is_finite() { low } else { 0.0 };
        Self { low, high: low + 1.0, from, to, is_logarithmic: false }
    }

    /// The pixel of a value; none of what the axis does not have.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || (self.is_logarithmic && value <= 0.0) {
            return None;
        }
        let part = if self.is_logarithmic {
            (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        Some(self.from + part * (self.to - self.from))
    }

    /// Values to write beside it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (low..=high).map(|power| 10_f64.powi(power)).collect();
        }
        let step = step(self.high - self.low);
        let first = (self.low / step).ceil();
        let count = ((self.high / step).floor() - first).max(0.0) as usize;
        (0..=count).map(|number| (first + number as f64) * step).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten, of which three to eight make up `range`.
fn step(range: f64) -> f64 {
    let power = 10_f64.powf((range / 4.0).log10().floor());
    let times = range / 4.0 / power;
    power
        * if times < 1.5 {
            1.0
        } else if times < 3.5 {
            2.0
        } else if times < 7.5 {
            5.0
        } else {
            10.0
        }
}

/// A number as people write it on an axis.
pub(super) fn label(number: f64) -> String {
    let (number, unit) = match number.abs() {
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = format!("{number:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(label).collect()
    }

    #[test]
    fn ticks_are_round() {
        for (values, expected) in [
            (vec![3.0, 38.0], vec!["0", "10", "20", "30", "40"]),
            (vec![0.0, 0.7], vec!["0", "0.2", "0.4", "0.6", "0.8"]),
            (vec![5.0], vec!["0", "1", "2", "3", "4", "5"]),
            (vec![-3.0, 4.0], vec!["-4", "-2", "0", "2", "4"]),
            (vec![41_000.0], vec!["0", "10k", "20k", "30k", "40k", "50k"]),
            (vec![0.0], vec!["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ] {
            assert_eq!(labels(&Scale::of(values.clone().into_iter(), false, 0.0, 1.0)), expected, "{values:?}");
        }
        let logarithmic = Scale::of([0.3, 0.0, 250.0].into_iter(), true, 0.0, 1.0);
        assert_eq!(labels(&logarithmic), ["0.1", "1", "10", "100", "1000"]);
    }

    #[test]
    fn an_axis_of_nothing_has_ticks_all_the_same() {
        for is_logarithmic in [false, true] {
            assert!(!Scale::of([f64::NAN].into_iter(), is_logarithmic, 0.0, 1.0).ticks().is_empty());
        }
        assert!(!Scale::exact(std::iter::empty(), 0.0, 1.0).ticks().is_empty());
    }

    #[test]
    fn values_outside_an_axis_are_not_drawn() {
        let scale = Scale::of([1.0, 10.0].into_iter(), true, 0.0, 100.0);
        assert_eq!((scale.at(0.0), scale.at(-1.0), scale.at(f64::NAN)), (None, None, None));
        assert_eq!((scale.at(1.0), scale.at(10.0)), (Some(0.0), Some(100.0)));
    }

    proptest! {
        #[test]
        fn values_and_ticks_are_on_the_axis(
            values in prop::collection::vec(0.001..1e9_f64, 1..20),
            is_logarithmic: bool,
        ) {
            let scale = Scale::of(values.iter().copied(), is_logarithmic, 100.0, 20.0);
            let ticks = scale.ticks();
            prop_assert!((2..=14).contains(&ticks.len()), "{ticks:?}");
            for value in values.into_iter().chain(ticks) {
                let at = scale.at(value).unwrap();
                prop_assert!((19.999..=100.001).contains(&at), "{value} is at {at}");
            }
        }
    }
}
