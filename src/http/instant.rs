//! Moments as text: UTC RFC 3339 with `Z`, as everywhere in the protocol.

use crate::model::Wall;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// With milliseconds.
pub fn format(at: Wall) -> String {
    let (year, month, day) = date(at.0 / DAY_MS);
    let ms = at.0 % DAY_MS;
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// `YYYY-MM-DDThh:mm:ss[.fraction]Z` from 1970 on; more than three places are cut. Offsets and leap
/// seconds are not taken.
pub fn parse(text: &str) -> Option<Wall> {
    let body = text.strip_suffix('Z')?;
    let (whole, fraction) = body.split_once('.').unwrap_or((body, "0"));
    let template = b"0000-00-00T00:00:00";
    let fits = whole.len() == template.len()
        && whole.bytes().zip(template).all(|(byte, &expected)| match expected {
            b'0' => byte.is_ascii_digit(),
            _ => byte == expected,
        });
    let fraction_fits =
        (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !fits || !fraction_fits {
        return None;
    }
    let number = |from: usize, to: usize| whole.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let days = days(year, month, day)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let ms = format!("{fraction:0<3}").get(..3)?.parse::<u64>().ok()?;
    Some(Wall(days * DAY_MS + (hour * 3600 + minute * 60 + second) * 1000 + ms))
}

/// The civil date of a day since the epoch. A year begins in March here, so that the leap day is
/// its last; an era has 400 years, 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

/// The day since the epoch of a civil date; `None` for one that does not exist.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = year - u64::from(month <= 2);
    let (era, year_of_era) = (from_march / 400, from_march % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_moments_agree() {
        let check = |text: &str, ms: u64| {
            assert_eq!(format(Wall(ms)), text);
            assert_eq!(parse(text), Some(Wall(ms)), "{text}");
        };
        check("1970-01-01T00:00:00.000Z", 0);
        check("2000-02-29T23:59:59.999Z", 951_868_799_999);
        check("2000-03-01T00:00:00.000Z", 951_868_800_000);
        check("2025-11-26T10:30:00.123Z", 1_764_153_000_123);
        check("2100-02-28T00:00:00.000Z", 4_107_456_000_000);
        check("9999-12-31T23:59:59.999Z", 253_402_300_799_999);
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for day in 0..300_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse(text), expected.map(Wall), "{text}");
        };
        check("1970-01-01T00:00:01Z", Some(1_000));
        check("1970-01-01T00:00:00.1Z", Some(100));
        check("1970-01-01T00:00:00.001999999Z", Some(1));
        for text in ["", "Z", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z"] {
            check(text, None);
        }
        for text in ["1970-01-01T00:00:00+00:00", "1969-12-31T23:59:59Z", "1970-02-29T00:00:00Z"] {
            check(text, None);
        }
        for text in ["1970-01-01T24:00:00Z", "1970-13-01T00:00:00Z", "1970-01-00T00:00:00Z"] {
            check(text, None);
        }
        for text in ["1970-01-01T00:00:60Z", "+970-01-01T00:00:00Z", "１970-01-01T00:00:0Z"] {
            check(text, None);
        }
        check("1970-01-01T00:00:00.1234567890Z", None);
    }
}
