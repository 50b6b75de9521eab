//! The options of the program: what the command line and the environment say, checked.

use std::{
    collections::HashSet,
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime},
};

use clap::{ArgMatches, parser::ValueSource};
use http::Uri;

use super::command::{LISTEN, MEMORY, TLS, variable};
use crate::{access_key::AccessKey, bucket::Acl};
use tower_aliyun_oss::protocol::{Bucket, Region};

/// When the STS tokens of the options expire: a hundred years.
const LONG: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The checked options.
pub(super) struct Options {
    pub(super) listen: String,
    pub(super) public_url: Option<PublicUrl>,
    pub(super) buckets: Vec<(Bucket, Acl)>,
    pub(super) create_buckets: bool,
    pub(super) foreign_buckets: Vec<Bucket>,
    pub(super) keys: Vec<AccessKey>,
    /// The secret of the first key, if it is the default.
    pub(super) default_key: bool,
    pub(super) region: Option<Region>,
    pub(super) data: Option<PathBuf>,
    /// In bytes.
    pub(super) memory: u64,
    pub(super) seed: Option<PathBuf>,
    pub(super) drop_idle_uploads: Option<Duration>,
    pub(super) allow_private_callbacks: bool,
    pub(super) allow_callbacks: Vec<String>,
    /// A file with root certificates for callbacks.
    pub(super) callback_ca: Option<PathBuf>,
    pub(super) allow_origins: Vec<String>,
    pub(super) lenient_forms: bool,
    pub(super) refuse_v1: bool,
    pub(super) tls: Option<(PathBuf, PathBuf)>,
    pub(super) log: LogFormat,
    pub(super) console: ConsoleAccess,
}

/// The scheme and the authority of `--public-url`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PublicUrl {
    pub(super) https: bool,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Who may use `/_emulator/`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConsoleAccess {
    Local,
    All,
    Off,
}

/// What the program does.
pub(super) enum Action {
    Serve(Box<Options>),
    /// Asks a running emulator whether it is healthy.
    Health(Box<Options>),
}

/// Checks the options.
///
/// # Errors
///
/// Fails with a message that names the option or the variable, and the remedy.
pub(super) fn parse(matches: &ArgMatches) -> Result<Action, String> {
    let given = Given(matches);
    let (mut buckets, mut names) = (Vec::new(), HashSet::new());
    for text in given.all("bucket") {
        let (bucket, acl) = bucket(text).map_err(|error| given.error("bucket", &error))?;
        if !names.insert(bucket.clone()) {
            let error = format!("the bucket {bucket} occurs twice; remove one");
            return Err(given.error("bucket", &error));
        }
        buckets.push((bucket, acl));
    }
    let (mut keys, mut ids) = (Vec::new(), HashSet::new());
    for text in given.all("key") {
        let key = key(text).map_err(|error| given.error("key", error))?;
        if !ids.insert(key.id().to_owned()) {
            let error = format!("the AccessKey {:?} occurs twice; remove one", key.id());
            return Err(given.error("key", &error));
        }
        keys.push(key);
    }
    let default_key = keys.is_empty();
    if default_key {
        keys.push(AccessKey::new("test-id", "test-secret"));
    }
    let allow_private_callbacks = given.flag("allow-private-callbacks")?;
    let allow_callbacks: Vec<String> = given.all("allow-callback").map(Into::into).collect();
    if allow_private_callbacks && !allow_callbacks.is_empty() {
        return Err(format!(
            "{} already allows what {} allows; remove one of them",
            given.name("allow-private-callbacks"),
            given.name("allow-callback")
        ));
    }
    let options = Options {
        listen: given.one("listen").unwrap_or(LISTEN).to_owned(),
        public_url: given.parsed("public-url")?,
        buckets,
        create_buckets: given.flag("create-buckets")?,
        foreign_buckets: given.foreign_buckets()?,
        keys,
        default_key,
        region: given.region()?,
        data: given.one("data").map(PathBuf::from),
        memory: given.memory()?,
        seed: given.one("seed").map(PathBuf::from),
        drop_idle_uploads: given.seconds("drop-idle-uploads")?,
        allow_private_callbacks,
        allow_callbacks,
        callback_ca: given.one("callback-ca").map(PathBuf::from),
        allow_origins: given.origins()?,
        lenient_forms: given.flag("lenient-forms")?,
        refuse_v1: given.flag("refuse-v1")?,
        tls: given.tls()?,
        log: given.parsed("log")?.unwrap_or(LogFormat::Text),
        console: given.parsed("console")?.unwrap_or(ConsoleAccess::Local),
    };
    check_together(&options, &given)?;
    let options = Box::new(options);
    Ok(match matches.subcommand_name() {
        Some("health") => Action::Health(options),
        _ => Action::Serve(options),
    })
}

/// Checks what depends on several options.
fn check_together(options: &Options, given: &Given<'_>) -> Result<(), String> {
    if let (Some(url), Some(_)) = (&options.public_url, &options.tls)
        && !url.https
    {
        let error = format!(
            "clients reach an emulator with {} at an https:// URL",
            given.name(TLS)
        );
        return Err(given.error("public-url", &error));
    }
    if let (Some(data), Some(seed)) = (&options.data, &options.seed)
        && (seed.starts_with(data) || data.starts_with(seed))
    {
        return Err(format!(
            "{} and {} need separate folders: the program writes its own files into the first",
            given.name("data"),
            given.name("seed")
        ));
    }
    if options.data.is_some() && given.is_explicit("memory") {
        return Err(format!(
            "{} applies only without {}; remove one of them",
            given.name("memory"),
            given.name("data")
        ));
    }
    Ok(())
}

/// The options as given.
struct Given<'a>(&'a ArgMatches);

impl Given<'_> {
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.0.get_many::<String>(name);
        values.into_iter().flatten().map(String::as_str)
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.get_one::<String>(name).map(String::as_str)
    }

    fn is_explicit(&self, name: &str) -> bool {
        let source = self.0.value_source(name);
        source.is_some_and(|source| source != ValueSource::DefaultValue)
    }

    /// Returns the option or the environment variable that the value comes from.
    fn name(&self, name: &str) -> String {
        match self.0.value_source(name) {
            Some(ValueSource::EnvVariable) => variable(name),
            _ => format!("--{name}"),
        }
    }

    fn error(&self, name: &str, error: &str) -> String {
        format!("{}: {error}", self.name(name))
    }

    fn parsed<T: FromStr<Err = String>>(&self, name: &str) -> Result<Option<T>, String> {
        let parsed = self.one(name).map(str::parse::<T>).transpose();
        parsed.map_err(|error: String| self.error(name, &error))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.one(name).unwrap_or("false") {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            other => Err(self.error(name, &format!("{other:?} is neither true nor false"))),
        }
    }

    fn region(&self) -> Result<Option<Region>, String> {
        let region = self.one("region").map(str::parse).transpose();
        region.map_err(|error: tower_aliyun_oss::protocol::EndpointError| {
            self.error("region", &error.to_string())
        })
    }

    fn memory(&self) -> Result<u64, String> {
        let mib = self.one("memory").unwrap_or(MEMORY);
        let bytes = mib.parse::<u64>().ok().filter(|mib| *mib > 0);
        let bytes = bytes.and_then(|mib| mib.checked_mul(1 << 20));
        bytes.ok_or_else(|| {
            let error = format!("{mib:?} is not a number of MiB; use one such as {MEMORY}");
            self.error("memory", &error)
        })
    }

    fn seconds(&self, name: &str) -> Result<Option<Duration>, String> {
        let Some(text) = self.one(name) else {
            return Ok(None);
        };
        let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
        let seconds = seconds.ok_or_else(|| {
            let error = format!("{text:?} is not a number of seconds; use one such as 86400");
            self.error(name, &error)
        })?;
        Ok(Some(Duration::from_secs(seconds)))
    }

    fn foreign_buckets(&self) -> Result<Vec<Bucket>, String> {
        let names = self.all("foreign-bucket").map(|name| {
            let parsed = name.parse::<Bucket>();
            parsed.map_err(|error| self.error("foreign-bucket", &format!("{name:?}: {error}")))
        });
        names.collect()
    }

    fn origins(&self) -> Result<Vec<String>, String> {
        let origins = self.all("allow-origin").map(|text| {
            let host = text
                .strip_prefix("http://")
                .or_else(|| text.strip_prefix("https://"));
            match (text, host) {
                ("*", _) => Ok(text.to_owned()),
                (_, Some(host)) if !host.is_empty() && !host.contains('/') => Ok(text.to_owned()),
                _ => Err(self.error(
                    "allow-origin",
                    &format!(
                        "{text:?} is not an origin; use one such as https://app.example, or *"
                    ),
                )),
            }
        });
        origins.collect()
    }

    fn tls(&self) -> Result<Option<(PathBuf, PathBuf)>, String> {
        let mut files = self.all(TLS);
        match (files.next(), files.next(), files.next()) {
            (None, ..) => Ok(None),
            (Some(certificate), Some(key), None) => Ok(Some((certificate.into(), key.into()))),
            _ => Err(self.error(
                TLS,
                "needs two files, the certificate chain and its private key: --tls CERT KEY, or \
                 OSS_EMULATOR_TLS=CERT,KEY",
            )),
        }
    }
}

fn bucket(text: &str) -> Result<(Bucket, Acl), String> {
    let (name, acl) = text.split_once(':').unwrap_or((text, "private"));
    let bucket: Bucket = name.parse().map_err(|error| format!("{name:?}: {error}"))?;
    let acl = Acl::from_name(acl).ok_or_else(|| {
        format!("{acl:?} is not an ACL; use private, public-read or public-read-write")
    })?;
    Ok((bucket, acl))
}

/// Parses `ID:SECRET[:TOKEN]`. The error does not contain the text.
fn key(text: &str) -> Result<AccessKey, &'static str> {
    const FORMAT: &str = "write an AccessKey as ID:SECRET, or as ID:SECRET:TOKEN";
    let (id, rest) = text.split_once(':').ok_or(FORMAT)?;
    let (secret, token) = match rest.split_once(':') {
        Some((secret, token)) => (secret, Some(token)),
        None => (rest, None),
    };
    if id.is_empty() || secret.is_empty() || token.is_some_and(str::is_empty) {
        return Err(FORMAT);
    }
    let key = AccessKey::new(id, secret);
    Ok(match token {
        Some(token) => key.with_security_token(token, SystemTime::now() + LONG),
        None => key,
    })
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "{text:?} is not the URL of a host; write it as http://oss.test:9000, without a path"
            )
        };
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?;
        let whole = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !whole || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            https,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16(),
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a format; use text or json")),
        }
    }
}

impl FromStr for ConsoleAccess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "all" => Ok(Self::All),
            "off" => Ok(Self::Off),
            _ => Err(format!("{text:?} is unknown; use local, all or off")),
        }
    }
}
