//! Names of uploaded objects.

use std::{borrow::Cow, num::NonZeroU16, time::SystemTime};

use uuid::{Builder, Uuid};

use super::{document::Clause, error::PolicyError};
use crate::{
    protocol::{ObjectKey, ObjectPrefix},
    ticket::internal::Scope,
};

/// The variable that OSS replaces with the name of the file.
const FILENAME: &str = "${filename}";

/// Maximum length of a file extension that is kept, in characters.
const MAX_EXTENSION_LEN: usize = 10;

/// The name of an upload: one key that the server chose, or any key under a prefix.
///
/// Prefer a key that the server creates for every upload, as [`unique_key`] does. Under a prefix
/// the uploader chooses the name, and can write to every key there.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum UploadKey {
    /// Exactly this object.
    Exact(ObjectKey),
    /// Any object under this prefix. The form carries `prefix/${filename}`: OSS replaces the
    /// variable with the name of the file after it has checked the policy. The name may be
    /// anything, including `../`.
    Under(ObjectPrefix),
}

impl UploadKey {
    /// Returns the value of the form field `key`.
    pub(super) fn form_value(&self) -> Cow<'_, str> {
        match self {
            Self::Exact(key) => key.as_str().into(),
            Self::Under(prefix) => format!("{prefix}{FILENAME}").into(),
        }
    }

    /// Returns the prefix that a form value starts with; the whole value if it is one key.
    pub(super) fn prefix_of(form_value: &str) -> &str {
        form_value.strip_suffix(FILENAME).unwrap_or(form_value)
    }

    /// Returns the condition on the form field `key`.
    pub(super) fn clause(&self) -> Clause<'_> {
        match self {
            Self::Exact(key) => Clause::Equals("key", key.as_str()),
            Self::Under(prefix) => Clause::StartsWith("key", prefix.as_str()),
        }
    }

    /// Returns the objects that a ticket for this upload covers. `max_uses` applies to a prefix
    /// only.
    pub(super) fn ticket_scope(&self, max_uses: NonZeroU16) -> Scope {
        match self {
            Self::Exact(key) => Scope::Exact(key.clone()),
            Self::Under(prefix) => Scope::Prefix {
                prefix: prefix.clone(),
                max_uses,
            },
        }
    }
}

impl From<ObjectKey> for UploadKey {
    fn from(key: ObjectKey) -> Self {
        Self::Exact(key)
    }
}

impl From<ObjectPrefix> for UploadKey {
    fn from(prefix: ObjectPrefix) -> Self {
        Self::Under(prefix)
    }
}

/// Creates a unique key under the prefix: `prefix/UUID.extension`. The UUID has version 7, so a
/// listing is sorted by time.
///
/// Only the extension of the file name is kept, in lower case, if it consists of 1 to 10 ASCII
/// letters and digits. It does not describe what the bytes are. Extensions of pages and scripts
/// (`html`, `svg`, `js` …) are dropped, because a content delivery network may choose the content
/// type by extension.
///
/// ```
/// use std::time::SystemTime;
/// use tower_aliyun_oss::policy::unique_key;
///
/// let key = unique_key(&"user/7/".parse()?, Some("Holiday photo.JPG"), SystemTime::now())?;
/// assert!(key.as_str().starts_with("user/7/") && key.as_str().ends_with(".jpg"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if the prefix is too long, the time is before 1970, or the operating system returns no
/// random bytes.
///
/// Source: RFC 9562 section 5.7.
pub fn unique_key(
    prefix: &ObjectPrefix,
    filename: Option<&str>,
    at: SystemTime,
) -> Result<ObjectKey, PolicyError> {
    let mut random = [0; NAME_RANDOM_LEN];
    getrandom::fill(&mut random).map_err(|_| PolicyError::Random)?;
    name_object(prefix, filename, at, &random)
}

/// Returns the key that OSS would create for `${filename}` under the prefix. `None` if the client
/// sent no name, or one that is not valid in a key.
pub(super) fn requested_key(prefix: &ObjectPrefix, filename: Option<&str>) -> Option<ObjectKey> {
    format!("{prefix}{}", filename?).parse().ok()
}

/// Number of random bytes of a unique key. 74 of the 80 bits enter the UUID, enough that names
/// neither collide nor can be guessed.
pub(super) const NAME_RANDOM_LEN: usize = 10;

/// Creates the unique key that has these random bytes.
pub(super) fn name_object(
    prefix: &ObjectPrefix,
    filename: Option<&str>,
    at: SystemTime,
    random: &[u8; NAME_RANDOM_LEN],
) -> Result<ObjectKey, PolicyError> {
    let since_1970 = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| PolicyError::Clock)?;
    let millis = u64::try_from(since_1970.as_millis()).map_err(|_| PolicyError::Clock)?;
    let uuid = Builder::from_unix_timestamp_millis(millis, random).into_uuid();
    let mut buffer = Uuid::encode_buffer();
    let uuid = uuid.hyphenated().encode_lower(&mut buffer);
    let mut key = String::with_capacity(prefix.as_str().len() + uuid.len() + 1 + MAX_EXTENSION_LEN);
    key.extend([prefix.as_str(), uuid]);
    if let Some(extension) = filename.and_then(extension) {
        key.push('.');
        key.extend(extension.chars().map(|c| c.to_ascii_lowercase()));
    }
    key.parse().map_err(PolicyError::Key)
}

/// Extensions for which servers choose a content type that browsers execute.
const ACTIVE: [&str; 16] = [
    "htm", "html", "shtml", "xht", "xhtml", "mht", "mhtml", "xml", "xsl", "xslt", "svg", "svgz",
    "js", "mjs", "cjs", "swf",
];

/// Returns the extension that is kept, in any case.
fn extension(filename: &str) -> Option<&str> {
    let (stem, extension) = filename.rsplit_once('.')?;
    // Without a stem, as in `.htaccess`, the text after the dot is the name.
    let good = (1..=MAX_EXTENSION_LEN).contains(&extension.len())
        && extension.bytes().all(|b| b.is_ascii_alphanumeric())
        && !stem.is_empty();
    let active = |extension: &str| {
        let mut active = ACTIVE.iter();
        active.any(|one| one.eq_ignore_ascii_case(extension))
    };
    (good && !active(extension)).then_some(extension)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        env,
        io::{self, Write as _},
        process::Command,
        time::Duration,
    };

    use super::*;
    use crate::protocol::ObjectError;

    #[test]
    fn only_an_extension_of_letters_and_digits_is_kept() {
        for (filename, kept) in [
            ("a.JPG", Some("jpg")),
            ("a.tar.gz", Some("gz")),
            ("照片.jpeg", Some("jpeg")),
            ("a/b\\c.mp4", Some("mp4")),
            ("a.abcdefghij", Some("abcdefghij")),
            ("a.abcdefghijk", None),
            ("a.HTML", None),
            ("a.svg", None),
            (".htaccess", None),
            ("a.", None),
            ("a", None),
            ("", None),
            ("a.j/g", None),
            ("a.${x}", None),
            ("a.é", None),
            ("a.jpg\n", None),
        ] {
            let found = extension(filename).map(str::to_ascii_lowercase);
            assert_eq!(found.as_deref(), kept, "{filename:?}");
        }
    }

    #[test]
    fn the_name_is_a_uuid_of_version_7() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(0x0190_0000_0001);
        let prefix: ObjectPrefix = "a/".parse().unwrap();
        let key = name_object(&prefix, Some("x.PNG"), at, &[0xff; 10]).unwrap();
        assert_eq!(key.as_str(), "a/01900000-0001-7fff-bfff-ffffffffffff.png");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(
            name_object(&prefix, None, before, &[0; 10]),
            Err(PolicyError::Clock)
        );
        let long: ObjectPrefix = format!("{}/", "a".repeat(1000)).parse().unwrap();
        assert_eq!(
            name_object(&long, None, at, &[0; 10]),
            Err(PolicyError::Key(ObjectError::TooLong(1037)))
        );
    }

    #[test]
    #[ignore = "started as a process by the tests below"]
    fn pl_29_in_a_process() {
        let count = env::var("NAMES_TO_PRINT").unwrap();
        let mut out = String::new();
        for key in keys(count.parse().unwrap()) {
            out.push_str("name ");
            out.push_str(key.as_str());
            out.push('\n');
        }
        io::stdout().write_all(out.as_bytes()).unwrap();
    }

    fn keys(count: usize) -> impl Iterator<Item = ObjectKey> {
        let prefix: ObjectPrefix = "a/".parse().unwrap();
        (0..count).map(move |_| unique_key(&prefix, None, SystemTime::UNIX_EPOCH).unwrap())
    }

    /// Creates names in two processes and in this one; no two may be the same.
    fn assert_unique(in_each: usize, here: usize) {
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let process = Command::new(env::current_exe().unwrap())
                .args([
                    "--ignored",
                    "--exact",
                    "policy::object_name::tests::pl_29_in_a_process",
                    "--nocapture",
                ])
                .env("NAMES_TO_PRINT", in_each.to_string())
                .output()
                .unwrap();
            let text = String::from_utf8(process.stdout).unwrap();
            // The test runner prints the name of the test before the first line.
            seen.extend(
                text.lines()
                    .filter_map(|line| line.rsplit_once("name a/").map(|(_, key)| key.to_owned())),
            );
        }
        assert_eq!(seen.len(), 2 * in_each);
        seen.extend(
            keys(here).filter_map(|key| key.as_str().strip_prefix("a/").map(str::to_owned)),
        );
        assert_eq!(seen.len(), 2 * in_each + here);
    }

    #[test]
    fn pl_29_two_processes_with_a_stopped_clock_never_take_a_name_twice() {
        assert_unique(20_000, 20_000);
    }

    mod soak {
        #[test]
        #[ignore = "soak: a million names"]
        fn pl_29_two_processes_with_a_stopped_clock_never_take_a_name_twice() {
            super::assert_unique(200_000, 1_000_000);
        }
    }
}
