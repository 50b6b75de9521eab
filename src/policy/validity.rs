//! When a policy is valid, and how its document and its form spell these times.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::Offset};

use super::error::PolicyError;

/// When a policy is signed and when it expires.
///
/// All dates of a policy come from this one reading of the clock, so they cannot contradict each
/// other.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    signed: Timestamp,
    expires: Timestamp,
}

impl Validity {
    /// Starts at `at` and lasts for `lifetime`, or until the credentials expire if that is earlier.
    pub(super) fn new(
        at: SystemTime,
        lifetime: Duration,
        credentials_expire: Option<SystemTime>,
    ) -> Result<Self, PolicyError> {
        let signed = whole_second(at)?;
        let wanted = at.checked_add(lifetime).ok_or(PolicyError::Clock)?;
        let expires = match credentials_expire {
            Some(end) if end <= at => return Err(PolicyError::CredentialsExpired),
            Some(end) if end < wanted => whole_second(end)?,
            _ => whole_second(wanted)?,
        };
        // A policy has a resolution of one second, so less than that is no lifetime.
        if expires <= signed {
            return Err(PolicyError::CredentialsExpired);
        }
        Ok(Self { signed, expires })
    }

    /// Returns date and time of the signature in UTC, `YYYYMMDDTHHMMSSZ`.
    pub(super) fn signed(&self) -> SignedAt {
        let mut text = String::with_capacity("YYYYMMDDTHHMMSSZ".len());
        push_time(&mut text, self.signed, ["", "", "T", "", "", "Z"]);
        SignedAt(text)
    }

    pub(super) fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// When a policy was signed, as its form contains it.
pub(super) struct SignedAt(String);

impl SignedAt {
    /// Returns date and time in UTC, `YYYYMMDDTHHMMSSZ`.
    pub(super) fn date_time(&self) -> &str {
        &self.0
    }

    /// Returns the day in UTC, `YYYYMMDD`.
    pub(super) fn day(&self) -> &str {
        self.0.get(.."YYYYMMDD".len()).unwrap_or(&self.0)
    }
}

/// Appends when a policy expires, with milliseconds as in the samples: `2024-12-31T23:59:59.000Z`.
pub(super) fn push_expiration(out: &mut String, at: Timestamp) {
    push_time(out, at, ["-", "-", "T", ":", ":", ".000Z"]);
}

/// Appends year, month, day, hour, minute and second in UTC, each followed by a text. The year is
/// 1970 to 9999.
fn push_time(out: &mut String, at: Timestamp, separators: [&str; 6]) {
    let at = Offset::UTC.to_datetime(at);
    let [y, m, d, h, min, s] = separators;
    let year = i32::from(at.year());
    push_two_digits(out, year / 100);
    for (number, separator) in [
        (year % 100, y),
        (at.month().into(), m),
        (at.day().into(), d),
        (at.hour().into(), h),
        (at.minute().into(), min),
        (at.second().into(), s),
    ] {
        push_two_digits(out, number);
        out.push_str(separator);
    }
}

fn push_two_digits(out: &mut String, number: i32) {
    for digit in [number / 10 % 10, number % 10] {
        // Positive: no time is before 1970.
        out.push(char::from(b'0' + digit.unsigned_abs() as u8));
    }
}

/// Returns the same instant. A policy starts and expires after 1970, so no sign is lost.
pub(super) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().unsigned_abs())
}

fn whole_second(at: SystemTime) -> Result<Timestamp, PolicyError> {
    let since_1970 = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| PolicyError::Clock)?;
    // Rounds down, so that a policy never outlives its lifetime or the credentials.
    let seconds = i64::try_from(since_1970.as_secs()).map_err(|_| PolicyError::Clock)?;
    Timestamp::from_second(seconds).map_err(|_| PolicyError::Clock)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expiry(at: SystemTime, lifetime: Duration) -> Result<Timestamp, PolicyError> {
        Validity::new(at, lifetime, None).map(|validity| validity.expires())
    }

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::new(seconds, nanos))
            .unwrap()
    }

    #[test]
    fn pl_11_expiry_is_an_exact_instant_or_an_error() {
        let text =
            |now, lifetime| expiry(now, Duration::from_secs(lifetime)).map(|t| format!("{t:.3}"));
        assert_eq!(text(at(0, 0), 30).unwrap(), "1970-01-01T00:00:30.000Z");
        // A second before midnight, in a leap year, across the end of the year.
        assert_eq!(
            text(at(1_709_164_799, 999_999_999), 1).unwrap(),
            "2024-02-29T00:00:00.000Z"
        );
        assert_eq!(
            text(at(1_735_689_599, 0), 1).unwrap(),
            "2025-01-01T00:00:00.000Z"
        );
        assert_eq!(
            text(at(253_402_207_199, 0), 1).unwrap(),
            "9999-12-30T22:00:00.000Z"
        );
        assert_eq!(text(at(253_402_300_800, 0), 0), Err(PolicyError::Clock));
        assert_eq!(
            text(at(i64::MAX as u64, 0), u64::MAX),
            Err(PolicyError::Clock)
        );
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(text(before_1970, 30), Err(PolicyError::Clock));
    }

    #[test]
    fn pl_12_the_dates_of_a_moment_are_of_one_instant() {
        // 2024-12-31T23:59:59.9Z and a fifth of a second later.
        let life = Duration::from_secs(900);
        let before = Validity::new(at(1_735_689_599, 900_000_000), life, None).unwrap();
        let signed = before.signed();
        assert_eq!(
            (signed.day(), signed.date_time()),
            ("20241231", "20241231T235959Z")
        );
        assert_eq!(
            format!("{:.3}", before.expires()),
            "2025-01-01T00:14:59.000Z"
        );
        let after = Validity::new(at(1_735_689_600, 100_000_000), life, None).unwrap();
        let signed = after.signed();
        assert_eq!(
            (signed.day(), signed.date_time()),
            ("20250101", "20250101T000000Z")
        );
    }

    #[test]
    fn pl_19_a_moment_ends_with_the_credentials() {
        let now = at(1_735_689_570, 500_000_000);
        let life = Duration::from_secs(900);
        let until = |end| Validity::new(now, life, Some(end)).map(|v| v.expires().as_second());
        assert_eq!(until(at(1_735_690_470, 0)).unwrap(), 1_735_690_470);
        assert_eq!(
            until(at(1_735_689_600, 700_000_000)).unwrap(),
            1_735_689_600
        );
        assert_eq!(until(at(1_735_699_999, 0)).unwrap(), 1_735_690_470);
        for ended in [
            now,
            at(0, 0),
            SystemTime::UNIX_EPOCH - life,
            at(1_735_689_570, 900_000_000),
        ] {
            assert_eq!(until(ended), Err(PolicyError::CredentialsExpired));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn times_are_written_as_jiff_writes_them(second in 0..253_402_207_200_u64) {
            let life = Duration::from_secs(1);
            let validity = Validity::new(at(second, 0), life, None).unwrap();
            let signed = validity.signed();
            let day = validity.signed.strftime("%Y%m%d").to_string();
            prop_assert_eq!(signed.day(), day);
            let date_time = validity.signed.strftime("%Y%m%dT%H%M%SZ").to_string();
            prop_assert_eq!(signed.date_time(), date_time);
            let mut expiration = String::new();
            push_expiration(&mut expiration, validity.expires());
            prop_assert_eq!(expiration, format!("{:.3}", validity.expires()));
        }
    }
}
