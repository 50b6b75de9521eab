//! Objects of the archive storage classes: their content can only be read while they are restored.
//!
//! Sources: [RestoreObject], the pages of its EC, and the tests of the SDKs, which agree.
//!
//! [RestoreObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/restoreobject

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How long a restoration takes. On OSS that is the time of the class `Archive`. The cold classes
/// take hours, for which no test would wait.
const DURATION: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A storage class whose objects must be restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Archive {
    /// `Archive`.
    Plain,
    /// `ColdArchive` or `DeepColdArchive`: restorations have a priority.
    Cold,
}

impl Archive {
    /// Returns `None` for storage classes whose objects can always be read.
    pub(crate) fn of(storage_class: &str) -> Option<Self> {
        match storage_class {
            "Archive" => Some(Self::Plain),
            "ColdArchive" | "DeepColdArchive" => Some(Self::Cold),
            _ => None,
        }
    }

    /// Returns for how many days an object can stay restored.
    pub(crate) fn max_days(self) -> u32 {
        match self {
            Self::Plain => 7,
            Self::Cold => 365,
        }
    }
}

/// How urgent a restoration is, lowest first. The emulator takes the same time for all.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Priority {
    Bulk,
    Standard,
    Expedited,
}

impl Priority {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Bulk, Self::Standard, Self::Expedited];
        all.into_iter().find(|priority| priority.as_str() == name)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "Bulk",
            Self::Standard => "Standard",
            Self::Expedited => "Expedited",
        }
    }
}

/// A restoration that was requested. When it has expired, it counts as none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Restoration {
    ready: SystemTime,
    expires: SystemTime,
    priority: Priority,
}

/// What a restoration has reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Ongoing(Priority),
    Restored,
}

impl Restoration {
    /// Begins a restoration. The object then stays restored for some days.
    pub(crate) fn begin(now: SystemTime, days: u32, priority: Priority) -> Self {
        let ready = now + DURATION;
        Self {
            ready,
            expires: ready + DAY * days,
            priority,
        }
    }

    /// Returns `None` if the restoration has expired.
    pub(crate) fn phase(&self, now: SystemTime) -> Option<Phase> {
        if now < self.ready {
            Some(Phase::Ongoing(self.priority))
        } else if now < self.expires {
            Some(Phase::Restored)
        } else {
            None
        }
    }

    /// Makes an ongoing restoration more urgent.
    pub(crate) fn raise(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// Keeps the object restored for longer, up to the limit of its class.
    pub(crate) fn extend(&mut self, days: u32, class: Archive) {
        let limit = self.ready + DAY * class.max_days();
        self.expires = (self.expires + DAY * days).min(limit);
    }

    /// Returns when the object is no longer restored.
    pub(crate) fn expires(&self) -> SystemTime {
        self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restoration_is_ongoing_then_restored_then_over() {
        let start = SystemTime::UNIX_EPOCH;
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut restoration = Restoration::begin(start, 1, Priority::Bulk);
        let phase = |restoration: &Restoration, seconds| restoration.phase(at(seconds));
        let ongoing = |priority| Some(Phase::Ongoing(priority));
        assert_eq!(phase(&restoration, 59), ongoing(Priority::Bulk));
        restoration.raise(Priority::Expedited);
        assert_eq!(phase(&restoration, 59), ongoing(Priority::Expedited));
        assert_eq!(phase(&restoration, 60), Some(Phase::Restored));
        assert_eq!(phase(&restoration, 60 + 86_399), Some(Phase::Restored));
        assert_eq!(phase(&restoration, 60 + 86_400), None);
        restoration.extend(2, Archive::Plain);
        assert_eq!(restoration.expires(), at(60 + 3 * 86_400));
        restoration.extend(5, Archive::Plain);
        assert_eq!(restoration.expires(), at(60 + 7 * 86_400));
        restoration.extend(300, Archive::Cold);
        assert_eq!(restoration.expires(), at(60 + 307 * 86_400));
    }

    #[test]
    fn names() {
        for (class, archive) in [
            ("Standard", None),
            ("IA", None),
            ("Archive", Some(Archive::Plain)),
            ("ColdArchive", Some(Archive::Cold)),
            ("DeepColdArchive", Some(Archive::Cold)),
        ] {
            assert_eq!(Archive::of(class), archive, "{class}");
        }
        for name in ["Bulk", "Standard", "Expedited"] {
            assert_eq!(Priority::from_name(name).unwrap().as_str(), name);
        }
        assert_eq!(Priority::from_name("bulk"), None);
        assert!(Priority::Bulk < Priority::Standard && Priority::Standard < Priority::Expedited);
    }
}
