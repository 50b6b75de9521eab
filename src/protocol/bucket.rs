//! Bucket and region names.

use std::{error::Error, fmt, str::FromStr};

/// The name of a bucket: 3 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends.
///
/// ```
/// use tower_aliyun_oss::protocol::Bucket;
///
/// let bucket: Bucket = "examplebucket".parse()?;
/// assert_eq!(bucket.as_str(), "examplebucket");
/// assert!("Example.Bucket".parse::<Bucket>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::BucketError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bucket(Box<str>);

impl Bucket {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Bucket {
    type Err = BucketError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if !(3..=63).contains(&name.len()) {
            return Err(BucketError::Length(name.len()));
        }
        if !is_hyphenated_label(name) {
            return Err(BucketError::Characters);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the name of a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BucketError {
    /// Shorter than 3 or longer than 63 bytes; holds the length found.
    Length(usize),
    /// A character other than `a-z`, `0-9` and `-`, or a hyphen at an end.
    Characters,
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(found) => write!(f, "a bucket name has 3 to 63 characters, not {found}"),
            Self::Characters => f.write_str(
                "a bucket name has only lower-case letters, digits and hyphens, and no hyphen at either end",
            ),
        }
    }
}

impl Error for BucketError {}

/// A region as signatures spell it: `cn-hangzhou`, not `oss-cn-hangzhou`.
///
/// ```
/// use tower_aliyun_oss::protocol::Region;
///
/// let region: Region = "cn-hangzhou".parse()?;
/// assert_eq!(region.as_str(), "cn-hangzhou");
/// assert!("oss-cn-hangzhou".parse::<Region>().is_err());
/// # Ok::<(), tower_aliyun_oss::protocol::RegionError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Region(Box<str>);

impl Region {
    /// The region as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.starts_with("oss-") {
            return Err(RegionError::EndpointName);
        }
        if name.is_empty() || name.len() > 63 || !is_hyphenated_label(name) {
            return Err(RegionError::Characters);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a region.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RegionError {
    /// It starts with `oss-`: that is the name of an endpoint, the region is what follows.
    EndpointName,
    /// Empty, over 63 bytes, or a character other than `a-z`, `0-9` and inner `-`.
    Characters,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndpointName => {
                "a region is written without the \"oss-\" of its endpoint, as in cn-hangzhou"
            }
            Self::Characters => {
                "a region has 1 to 63 lower-case letters, digits and inner hyphens, as in cn-hangzhou"
            }
        })
    }
}

impl Error for RegionError {}

fn is_hyphenated_label(name: &str) -> bool {
    let inner = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names() {
        for good in ["abc", "a-b", "0bucket", &"a".repeat(63)] {
            assert_eq!(good.parse::<Bucket>().unwrap().to_string(), good);
        }
        for short_or_long in ["", "ab", &"a".repeat(64)] {
            assert_eq!(
                short_or_long.parse::<Bucket>(),
                Err(BucketError::Length(short_or_long.len()))
            );
        }
        for odd in ["-ab", "ab-", "a_b", "a.b", "Abc", "a b", "bücket", "a\nb"] {
            assert_eq!(
                odd.parse::<Bucket>(),
                Err(BucketError::Characters),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn region_names() {
        for good in [
            "cn-hangzhou",
            "ap-southeast-1",
            "us-east-1",
            &"a".repeat(63),
        ] {
            assert_eq!(good.parse::<Region>().unwrap().to_string(), good);
        }
        assert_eq!(
            "oss-cn-hangzhou".parse::<Region>(),
            Err(RegionError::EndpointName)
        );
        for odd in [
            "",
            "-cn",
            "cn-",
            "CN",
            "cn/hangzhou",
            "cn hangzhou",
            &"a".repeat(64),
        ] {
            assert_eq!(
                odd.parse::<Region>(),
                Err(RegionError::Characters),
                "{odd:?}"
            );
        }
    }
}
