//! Times as frames show them: RFC 3339, UTC, milliseconds, `Z`. Always 24 bytes.

use crate::model::Wall;

/// The last millisecond of the year 9999: RFC 3339 has no way to write a later one.
const LAST_MS: u64 = 253_402_300_799_999;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// `2025-11-26T10:30:00.123Z`. A time beyond the year 9999 is written as its last millisecond.
pub fn rfc3339_ms(at: Wall) -> [u8; 24] {
    let ms = at.0.min(LAST_MS);
    let (year, month, day) = civil(ms / DAY_MS);
    let in_day = ms % DAY_MS;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    two(&mut text, 0, year / 100);
    two(&mut text, 2, year % 100);
    two(&mut text, 5, month);
    two(&mut text, 8, day);
    two(&mut text, 11, in_day / 3_600_000);
    two(&mut text, 14, in_day / 60_000 % 60);
    two(&mut text, 17, in_day / 1000 % 60);
    two(&mut text, 20, in_day % 1000 / 10);
    text[22] = digit(in_day % 10);
    text
}

fn two(text: &mut [u8; 24], at: usize, number: u64) {
    text[at] = digit(number / 10);
    text[at + 1] = digit(number % 10);
}

fn digit(number: u64) -> u8 {
    b'0' + number as u8
}

/// Year, month, day of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`: years
/// begin in March there, so that the leap day is a year's last, and repeat every 400 of them.
fn civil(day_of_epoch: u64) -> (u64, u64, u64) {
    const DAYS_FROM_YEAR_0: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let day = day_of_epoch + DAYS_FROM_YEAR_0;
    let (cycle, day) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;

    fn ours(ms: u64) -> String {
        String::from_utf8(rfc3339_ms(Wall(ms)).to_vec()).unwrap()
    }

    fn theirs(ms: u64) -> String {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
        let (date, time) = (at.date(), at.time());
        let (hour, minute, second, ms) = time.as_hms_milli();
        format!(
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
        )
    }

    #[test]
    fn known_times() {
        let check = |ms, expected: &str| assert_eq!(ours(ms), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_764_153_000_123, "2025-11-26T10:30:00.123Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(4_107_542_399_999, "2100-02-28T23:59:59.999Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        check(LAST_MS, "9999-12-31T23:59:59.999Z");
        check(LAST_MS + 1, "9999-12-31T23:59:59.999Z");
        check(u64::MAX, "9999-12-31T23:59:59.999Z");
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of days, nothing unsafe")]
    fn the_first_and_last_moment_of_each_day_for_600_years() {
        for day in 0..600 * 366 {
            let first = day * DAY_MS;
            assert_eq!(ours(first), theirs(first));
            assert_eq!(ours(first + DAY_MS - 1), theirs(first + DAY_MS - 1));
        }
    }

    proptest! {
        #[test]
        fn any_time(ms in 0..=LAST_MS) {
            prop_assert_eq!(ours(ms), theirs(ms));
        }
    }
}
