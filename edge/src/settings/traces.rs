//! Settings of traces.

use outgoing::Endpoint;

use super::{sources::Sources, table, values::shown};

/// Where spans are sent, and of how many requests.
#[derive(Clone, Debug, Default)]
pub struct TraceSettings {
    /// The collector, which receives OTLP/JSON; there are no traces without it.
    pub url: Option<Endpoint>,
    /// The part of requests without a trace of their own that is recorded, from 0 to 1.
    pub sample: f64,
}

/// Reads them, and adds warnings of settings without an effect.
pub(super) fn read(from: &mut Sources<'_>, warnings: &mut Vec<String>) -> Option<TraceSettings> {
    let url = from.read(&table::TRACES_URL, |text| {
        (!text.is_empty()).then(|| text.parse::<Endpoint>()).transpose().map_err(|error| error.to_string())
    });
    let is_given = from.is_given(&table::TRACES_SAMPLE);
    let sample = from.read(&table::TRACES_SAMPLE, fraction);
    let (url, sample) = (url?, sample?);
    if url.is_none() && is_given {
        let (name, url) = (table::TRACES_SAMPLE.variable(), table::TRACES_URL.variable());
        warnings.push(format!("{name} has no effect: {url} is not set"));
    }
    Some(TraceSettings { url, sample })
}

fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("invalid fraction {}: expected a number from 0 to 1, such as 0.01", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::fraction;

    #[test]
    fn a_fraction_is_from_zero_to_one() {
        assert_eq!((fraction("0"), fraction("0.01"), fraction("1")), (Ok(0.0), Ok(0.01), Ok(1.0)));
        for bad in ["", "1.1", "-0.1", "1%", "NaN", "inf"] {
            assert!(fraction(bad).is_err(), "{bad}");
        }
    }
}
