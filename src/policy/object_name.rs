//! Names that nobody can guess or take twice.

use std::time::SystemTime;

use uuid::Builder;

use super::error::PolicyError;
use crate::protocol::{ObjectKey, ObjectPrefix};

/// The longest extension that is kept, in characters.
const MAX_EXTENSION_LEN: usize = 10;

/// A key under the prefix that is taken only once: `prefix/UUID.extension`, the UUID of version 7, so that a listing is
/// in the order of time.
///
/// Of the name of the file only the extension is kept, in lower case, if it is 1 to 10 ASCII letters and digits. It
/// says nothing about what the bytes are. Those of pages and scripts (`html`, `svg`, `js` …) are left out, because a
/// content delivery network may serve by extension.
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
/// When the prefix leaves no room for the name, the time is before 1970, or the operating system gives no random bytes.
///
/// Source: RFC 9562 section 5.7.
pub fn unique_key(
    prefix: &ObjectPrefix,
    filename: Option<&str>,
    at: SystemTime,
) -> Result<ObjectKey, PolicyError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_| PolicyError::Random)?;
    named(prefix, filename, at, &random)
}

fn named(
    prefix: &ObjectPrefix,
    filename: Option<&str>,
    at: SystemTime,
    random: &[u8; 10],
) -> Result<ObjectKey, PolicyError> {
    let since_1970 = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| PolicyError::Clock)?;
    let millis = u64::try_from(since_1970.as_millis()).map_err(|_| PolicyError::Clock)?;
    let uuid = Builder::from_unix_timestamp_millis(millis, random).into_uuid();
    let key = match filename.and_then(extension) {
        Some(extension) => format!("{prefix}{uuid}.{extension}"),
        None => format!("{prefix}{uuid}"),
    };
    key.parse().map_err(PolicyError::Key)
}

/// Extensions for which servers say a type that browsers run.
const ACTIVE: [&str; 16] = [
    "htm", "html", "shtml", "xht", "xhtml", "mht", "mhtml", "xml", "xsl", "xslt", "svg", "svgz",
    "js", "mjs", "cjs", "swf",
];

fn extension(filename: &str) -> Option<String> {
    let (stem, extension) = filename.rsplit_once('.')?;
    let good = (1..=MAX_EXTENSION_LEN).contains(&extension.len())
        && extension.bytes().all(|b| b.is_ascii_alphanumeric())
        && !stem.is_empty();
    let extension = good.then(|| extension.to_ascii_lowercase())?;
    (!ACTIVE.contains(&&*extension)).then_some(extension)
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
    use crate::protocol::ObjectNameError;

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
            assert_eq!(extension(filename).as_deref(), kept, "{filename:?}");
        }
    }

    #[test]
    fn the_name_is_a_uuid_of_version_7() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(0x0190_0000_0001);
        let prefix: ObjectPrefix = "a/".parse().unwrap();
        let key = named(&prefix, Some("x.PNG"), at, &[0xff; 10]).unwrap();
        assert_eq!(key.as_str(), "a/01900000-0001-7fff-bfff-ffffffffffff.png");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(
            named(&prefix, None, before, &[0; 10]),
            Err(PolicyError::Clock)
        );
        let long: ObjectPrefix = format!("{}/", "a".repeat(1000)).parse().unwrap();
        assert_eq!(
            named(&long, None, at, &[0; 10]),
            Err(PolicyError::Key(ObjectNameError::TooLong(1037)))
        );
    }

    #[test]
    #[ignore = "a process of the test below"]
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

    #[test]
    fn pl_29_two_processes_with_a_stopped_clock_never_take_a_name_twice() {
        const EACH: usize = 200_000;
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let process = Command::new(env::current_exe().unwrap())
                .args([
                    "--ignored",
                    "--exact",
                    "policy::object_name::tests::pl_29_in_a_process",
                    "--nocapture",
                ])
                .env("NAMES_TO_PRINT", EACH.to_string())
                .output()
                .unwrap();
            let text = String::from_utf8(process.stdout).unwrap();
            // The runner prints the name of the test in front of the first line.
            seen.extend(
                text.lines()
                    .filter_map(|line| line.rsplit_once("name a/").map(|(_, key)| key.to_owned())),
            );
        }
        assert_eq!(seen.len(), 2 * EACH);
        let here: HashSet<_> = keys(1_000_000).map(|key| key.as_str().to_owned()).collect();
        assert_eq!(here.len(), 1_000_000);
    }
}
