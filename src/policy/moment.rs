//! The instant a policy is signed at, and the instant it ends.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::error::PolicyError;

/// Every date of one policy: read from one clock reading, so that they cannot disagree.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    signed: Timestamp,
    expires: Timestamp,
}

impl Moment {
    /// A policy signed at `at` for `lifetime`, or until the credentials end if that is sooner.
    pub(super) fn new(
        at: SystemTime,
        lifetime: Duration,
        credentials_end: Option<SystemTime>,
    ) -> Result<Self, PolicyError> {
        let signed = whole_second(at)?;
        let wanted = at.checked_add(lifetime).ok_or(PolicyError::Clock)?;
        let expires = match credentials_end {
            Some(end) if end <= at => return Err(PolicyError::CredentialsExpired),
            Some(end) if end < wanted => whole_second(end)?,
            _ => whole_second(wanted)?,
        };
        // Less than the whole second that a policy can say is left.
        if expires <= signed {
            return Err(PolicyError::CredentialsExpired);
        }
        Ok(Self { signed, expires })
    }

    /// The day in UTC, `YYYYMMDD`.
    pub(super) fn day(&self) -> String {
        self.signed.strftime("%Y%m%d").to_string()
    }

    /// Day and time in UTC, `YYYYMMDDTHHMMSSZ`.
    pub(super) fn day_and_time(&self) -> String {
        self.signed.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    pub(super) fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// The same instant; a policy begins and ends after 1970, so nothing is lost.
pub(super) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().unsigned_abs())
}

fn whole_second(at: SystemTime) -> Result<Timestamp, PolicyError> {
    let since_1970 = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| PolicyError::Clock)?;
    let seconds = i64::try_from(since_1970.as_secs()).map_err(|_| PolicyError::Clock)?;
    Timestamp::from_second(seconds).map_err(|_| PolicyError::Clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(at: SystemTime, lifetime: Duration) -> Result<Timestamp, PolicyError> {
        Moment::new(at, lifetime, None).map(|moment| moment.expires())
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
        let before = Moment::new(at(1_735_689_599, 900_000_000), life, None).unwrap();
        assert_eq!(
            (before.day(), before.day_and_time()),
            ("20241231".to_owned(), "20241231T235959Z".to_owned())
        );
        assert_eq!(
            format!("{:.3}", before.expires()),
            "2025-01-01T00:14:59.000Z"
        );
        let after = Moment::new(at(1_735_689_600, 100_000_000), life, None).unwrap();
        assert_eq!(
            (after.day(), after.day_and_time()),
            ("20250101".to_owned(), "20250101T000000Z".to_owned())
        );
    }

    #[test]
    fn pl_19_a_moment_ends_with_the_credentials() {
        let now = at(1_735_689_570, 500_000_000);
        let life = Duration::from_secs(900);
        let until = |end| Moment::new(now, life, Some(end)).map(|m| m.expires().as_second());
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
}
