//! The policy document: its conditions, the form that satisfies them, and its dates.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{error::PolicyError, json};
use crate::protocol::SizeRange;

/// One condition of the document: on a form field, or on the size of the file.
///
/// The two spellings of equality are equivalent. Each is used where Alibaba's samples use it.
#[derive(Clone, Copy)]
pub(super) enum Clause<'a> {
    /// `{"field":"value"}`: the field must have exactly this value.
    Is(&'a str, &'a str),
    /// `["eq","$field","value"]`: the same.
    Equals(&'a str, &'a str),
    /// The value of the field must start with this text.
    StartsWith(&'a str, &'a str),
    /// The value of the field must be one of these.
    In(&'a str, &'a [Box<str>]),
    /// The value of the field must not be one of these.
    NotIn(&'a str, &'a [Box<str>]),
    /// The size of the file must be within this range.
    ContentLengthRange(SizeRange),
}

impl Serialize for Clause<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(field, value) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(field, value)?;
                map.end()
            }
            Self::Equals(field, value) => ("eq", Field(field), value).serialize(serializer),
            Self::StartsWith(field, value) => {
                ("starts-with", Field(field), value).serialize(serializer)
            }
            Self::In(field, values) => ("in", Field(field), values).serialize(serializer),
            Self::NotIn(field, values) => ("not-in", Field(field), values).serialize(serializer),
            Self::ContentLengthRange(range) => {
                ("content-length-range", range.min(), range.max()).serialize(serializer)
            }
        }
    }
}

/// The name of a field, written `$name` as conditions with three parts require.
struct Field<'a>(&'a str);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("${}", self.0))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    expiration: String,
    conditions: &'a [Clause<'a>],
}

/// Returns the text that is signed and sent: the document as JSON, in Base64.
pub(super) fn encode(expiration: Timestamp, conditions: &[Clause<'_>]) -> String {
    let document = Document {
        // With milliseconds, as in the samples: `2024-12-31T23:59:59.000Z`.
        expiration: format!("{expiration:.3}"),
        conditions,
    };
    STANDARD.encode(json::to_vec(&document))
}

/// The fields of a form together with the conditions on them.
///
/// OSS does not check a field that the policy does not mention, so a field can only be added here
/// together with its condition.
pub(super) struct Form<'a> {
    fields: Vec<(&'a str, &'a str)>,
    clauses: Vec<Clause<'a>>,
}

impl<'a> Form<'a> {
    /// Creates an empty form with room for this many fields.
    pub(super) fn with_capacity(fields: usize) -> Self {
        Self {
            fields: Vec::with_capacity(fields),
            clauses: Vec::with_capacity(fields),
        }
    }

    /// Adds a field that must be sent unchanged, as `{"field":"value"}`.
    pub(super) fn require(&mut self, name: &'a str, value: &'a str) {
        self.require_by(name, value, Clause::Is(name, value));
    }

    /// Adds a field that must be sent unchanged, as `["eq","$field","value"]`.
    pub(super) fn require_eq(&mut self, name: &'a str, value: &'a str) {
        self.require_by(name, value, Clause::Equals(name, value));
    }

    /// Adds a field with this condition.
    pub(super) fn require_by(&mut self, name: &'a str, value: &'a str, clause: Clause<'a>) {
        self.fields.push((name, value));
        self.clauses.push(clause);
    }

    /// Adds a condition on something that the client sends itself, or on the request.
    pub(super) fn condition(&mut self, clause: Clause<'a>) {
        self.clauses.push(clause);
    }

    pub(super) fn clauses(&self) -> &[Clause<'a>] {
        &self.clauses
    }

    /// Returns the fields followed by those of the signature.
    ///
    /// The latter need no condition: with another value, the signature does not verify.
    pub(super) fn into_signed(self, signature: &[(&str, &str)]) -> Vec<(Box<str>, Box<str>)> {
        let all = self.fields.iter().chain(signature);
        all.map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }
}

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

    /// Returns the day in UTC, `YYYYMMDD`.
    pub(super) fn day(&self) -> String {
        self.signed.strftime("%Y%m%d").to_string()
    }

    /// Returns date and time in UTC, `YYYYMMDDTHHMMSSZ`.
    pub(super) fn date_time(&self) -> String {
        self.signed.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    pub(super) fn expires(&self) -> Timestamp {
        self.expires
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
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_document_as_oss_reads_it() {
        let expiration = Timestamp::from_second(1_735_689_599).unwrap();
        let size = SizeRange::new(0, 1_048_576_000).unwrap();
        let conditions = [
            Clause::StartsWith("key", "user-dir-prefix/"),
            Clause::ContentLengthRange(size),
            Clause::Is("callback", "e30="),
        ];
        let text = encode(expiration, &conditions);
        assert_eq!(
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
            concat!(
                r#"{"expiration":"2024-12-31T23:59:59.000Z","conditions":[["starts-with","$key","user-dir-prefix/"],"#,
                r#"["content-length-range",0,1048576000],{"callback":"e30="}]}"#
            )
        );
    }

    /// Cases of the official page and of the first samples. Other cases use another spelling.
    #[test]
    fn pl_01_documents_of_the_cases_byte_for_byte() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/cases/policies.json")).unwrap();
        let case = |name: &str| cases.iter().find(|case| case["name"] == name).unwrap();
        let list =
            |values: &[&str]| -> Vec<Box<str>> { values.iter().map(|&v| v.into()).collect() };
        let (types, directives) = (list(&["image/jpg", "image/png"]), list(&["no-cache"]));
        for name in ["derived-v4-aksk", "derived-v4-sts"] {
            let case = case(name);
            let mut clauses = vec![
                Clause::Is("bucket", "examplebucket"),
                Clause::Is("x-oss-signature-version", "OSS4-HMAC-SHA256"),
                Clause::Is(
                    "x-oss-credential",
                    case["x_oss_credential"].as_str().unwrap(),
                ),
            ];
            if let Some(token) = case["security_token"].as_str() {
                clauses.push(Clause::Is("x-oss-security-token", token));
            }
            clauses.extend([
                Clause::Is("x-oss-date", case["x_oss_date"].as_str().unwrap()),
                Clause::ContentLengthRange(SizeRange::new(1, 10).unwrap()),
                Clause::Equals("success_action_status", "201"),
                Clause::StartsWith("key", "user/eric/"),
                Clause::In("content-type", &types),
                Clause::NotIn("cache-control", &directives),
            ]);
            let text = encode("2023-12-03T13:00:00Z".parse().unwrap(), &clauses);
            assert_eq!(text, case["policy_base64"], "{name}");
        }
        let clauses = [
            Clause::Is("bucket", "johnsmith"),
            Clause::StartsWith("key", "user/eric/"),
        ];
        let text = encode("2014-12-01T12:00:00Z".parse().unwrap(), &clauses);
        assert_eq!(text, case("derived-v1-johnsmith")["policy_base64"]);
    }

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
        assert_eq!(
            (before.day(), before.date_time()),
            ("20241231".to_owned(), "20241231T235959Z".to_owned())
        );
        assert_eq!(
            format!("{:.3}", before.expires()),
            "2025-01-01T00:14:59.000Z"
        );
        let after = Validity::new(at(1_735_689_600, 100_000_000), life, None).unwrap();
        assert_eq!(
            (after.day(), after.date_time()),
            ("20250101".to_owned(), "20250101T000000Z".to_owned())
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
}
