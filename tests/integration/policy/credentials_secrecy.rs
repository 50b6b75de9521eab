//! No `Debug` output, error or log line contains the secret or the STS token of credentials.
//!
//! Only one test, because subscribers of other threads affect what a thread logs.

use std::{
    error::Error,
    fmt,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::support::Log;
use tower_aliyun_oss::policy::{
    Credentials, CredentialsError, CredentialsProvider, CredentialsProviderError, EnvironmentError,
    RefreshingCredentials,
};

const SECRET: &str = "canary-secret";
const CREDENTIALS: [CredentialsError; 6] = [
    CredentialsError::EmptyId,
    CredentialsError::IdCharacter,
    CredentialsError::EmptySecret,
    CredentialsError::SecretCharacter,
    CredentialsError::EmptyToken,
    CredentialsError::TokenCharacter,
];

/// Like the errors of HTTP clients: `Debug` prints the request, which contains the secret.
struct Refused;

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request {{ secret: {SECRET} }}")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("403 NoPermission")
    }
}

impl Error for Refused {}

type Answer = Pin<Box<dyn Future<Output = Result<Credentials, Refused>> + Send>>;

fn token() -> Credentials {
    let pair = Credentials::new("STS.id", SECRET).unwrap();
    pair.with_security_token("canary-token").unwrap()
}

/// All outcomes of a call.
fn answers() -> [fn() -> Answer; 6] {
    [
        || {
            let end = SystemTime::now() + Duration::from_secs(3600);
            Box::pin(async move { Ok(token().with_expiry(end)) })
        },
        || Box::pin(async { Ok(token().with_expiry(SystemTime::UNIX_EPOCH)) }),
        || Box::pin(async { Ok(token()) }),
        || Box::pin(async { Err(Refused) }),
        || Box::pin(async { panic!("panic in the fetch function") }),
        || Box::pin(pending()),
    ]
}

fn errors() -> Vec<Box<dyn Error>> {
    let missing = |name: &str| name.ends_with("SECRET").then(|| SECRET.into());
    let stray = |name: &str| {
        name.starts_with("OSS")
            .then(|| format!("{SECRET}\n").into())
    };
    let mut errors: Vec<Box<dyn Error>> = vec![
        Box::new(Credentials::new("", SECRET).unwrap_err()),
        Box::new(Credentials::new("id", format!("{SECRET}\n")).unwrap_err()),
        Box::new(Credentials::new(format!("{SECRET} "), "s").unwrap_err()),
        Box::new(token().with_security_token("canary\0").unwrap_err()),
        Box::new(Credentials::from_env_with(missing).unwrap_err()),
        Box::new(Credentials::from_env_with(stray).unwrap_err()),
        Box::new(EnvironmentError::Unset),
        Box::new(CredentialsProviderError::Unavailable(Arc::new(Refused))),
        Box::new(CredentialsProviderError::TimedOut(Duration::from_secs(1))),
        Box::new(CredentialsProviderError::Expired),
        Box::new(CredentialsProviderError::NoExpiry),
        Box::new(CredentialsProviderError::Interrupted),
        Box::new(CredentialsProviderError::NoRuntime),
    ];
    for error in CREDENTIALS {
        errors.push(Box::new(error));
    }
    errors
}

#[tokio::test(start_paused = true)]
async fn pl_20_no_type_error_or_log_shows_the_secret() {
    let log = Log::default();
    let _guard = log.listen();
    let mut shown = Vec::new();
    for answer in answers() {
        let provider = RefreshingCredentials::new(answer);
        shown.push(format!("{provider:?} {provider:#?}"));
        for _ in 0..2 {
            let lookup = provider.credentials();
            shown.push(format!("{lookup:?} {lookup:#?} {provider:?}"));
            match lookup.await {
                Ok(credentials) => shown.push(format!("{credentials:?} {credentials:#?}")),
                Err(error) => shown.push(format!("{error} {error:?} {error:#?}")),
            }
        }
    }
    for error in errors() {
        let text = error.to_string();
        assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
        let word = text.split(' ').next().unwrap();
        assert!(
            word == word.to_lowercase() || word.starts_with("OSS_"),
            "{text}"
        );
        let source = error.source().map(ToString::to_string);
        shown.push(format!("{text} {error:?} {error:#?} {source:?}"));
    }
    for text in &shown {
        assert!(!text.contains("canary"), "{text}");
    }

    assert_eq!(log.count("", "canary"), 0);
    // The log was captured, and contains the causes of the failures.
    assert_eq!(log.count("DEBUG", "refreshed"), 1);
    assert_eq!(log.count("WARN", "credentials"), 5);
    assert_eq!(log.count("WARN", "403 NoPermission"), 1);
}
