//! Times as JavaScript writes them.

use std::time::SystemTime;

const DAY: i64 = 86_400_000;

/// The last moment that a JavaScript `Date` can be, a hundred million days from 1970, in milliseconds.
const END: i64 = 100_000_000 * DAY;

/// A time as JavaScript writes a `Date` into JSON: `2025-01-31T12:00:00.000Z`. Times before 1970 are written as its beginning.
pub fn iso(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    iso_of_millis(i64::try_from(since.as_millis()).unwrap_or(END)).unwrap_or_default()
}

/// The same of milliseconds since 1970, also before it; nothing where a `Date` would be invalid.
pub fn iso_of_millis(milliseconds: i64) -> Option<String> {
    if !(-END..=END).contains(&milliseconds) {
        return None;
    }
    let (days, of_day) = (milliseconds.div_euclid(DAY), milliseconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    Some(format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000
    ))
}

/// The date of a day counted from 1970. Years are counted from March, which puts the leap day at their end.
fn civil(days: i64) -> (i64, i64, i64) {
    let day = days + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_as_iso_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696, "2000-02-29T12:34:56.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
