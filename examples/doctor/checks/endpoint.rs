//! Whether the endpoint answers, and how far the clock of this machine is off.

use std::time::Duration;

use http::Method;
use jiff::{Timestamp, fmt::rfc2822};

use crate::{
    finding::Finding,
    oss::{Answer, Oss, Signature},
};

pub(super) const CHECK: &str = "endpoint";
const CLOCK: &str = "clock";

/// OSS refuses requests that are further off.
const MOST_SKEW: Duration = Duration::from_secs(15 * 60);

/// More than a network delay.
const NOTABLE_SKEW: Duration = Duration::from_secs(60);

pub(super) async fn check(oss: &Oss<'_>) -> Vec<Finding> {
    let url = oss.settings.url.as_str();
    let did = format!("GET {url} without a signature");
    let request = oss.request(Method::GET, "").signature(Signature::None);
    match request.send().await {
        Ok(answer) => {
            let clock = clock(&answer);
            vec![Finding::passed(CHECK, did, answer.describe()), clock]
        }
        Err(error) => vec![Finding::failed(
            CHECK,
            did,
            error.to_string(),
            "correct OSS_HOST; if it is right, allow this machine to connect to it",
        )],
    }
}

fn clock(answer: &Answer) -> Finding {
    let did = "compared the Date of OSS with the clock of this machine";
    let date = answer
        .header("date")
        .and_then(|date| rfc2822::parse(date).ok());
    let Some(date) = date else {
        return Finding::skipped(CLOCK, "OSS sent no date", "run the check again");
    };
    let ahead = Timestamp::now().as_second() - date.timestamp().as_second();
    let skew = Duration::from_secs(ahead.unsigned_abs());
    let direction = if ahead < 0 { "behind" } else { "ahead of" };
    let got = format!("this machine is {} s {direction} OSS", skew.as_secs());
    let change = "set the clock, for example with NTP";
    if skew >= MOST_SKEW {
        Finding::failed(CLOCK, did, got, change)
    } else if skew >= NOTABLE_SKEW {
        Finding::warning(CLOCK, did, got, change)
    } else {
        Finding::passed(CLOCK, did, got)
    }
}
