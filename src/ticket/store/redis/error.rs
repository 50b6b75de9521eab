//! What errors of Redis mean.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::step::LinkError;
use crate::ticket::store::{StoreError, StoreErrorKind as Kind};

pub(super) fn store_error(error: LinkError) -> StoreError {
    match error {
        LinkError::Redis(error) => StoreError::with_source(kind(&error), error),
        LinkError::NotReplicated => Kind::NotReplicated.into(),
    }
}

fn kind(error: &RedisError) -> Kind {
    match error.kind() {
        ErrorKind::Server(server) => match server {
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot => {
                Kind::Moved
            }
            ServerErrorKind::ReadOnly => Kind::ReadOnly,
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain => Kind::Loading,
            ServerErrorKind::NoPerm => Kind::Denied,
            // Before version 7, Redis reports an error inside of a script as its text.
            _ => error.detail().map_or(Kind::Refused, inside_a_script),
        },
        ErrorKind::AuthenticationFailed => Kind::Denied,
        ErrorKind::Extension => error.code().and_then(by_code).unwrap_or(Kind::Refused),
        ErrorKind::Io if is_tls(error) => Kind::Tls,
        ErrorKind::Io if error.is_timeout() => Kind::TimedOut,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Kind::Unreadable,
        _ => Kind::Unavailable,
    }
}

/// The meaning of the first word of an error, for words that the client does not know.
fn by_code(code: &str) -> Option<Kind> {
    Some(match code {
        "OOM" => Kind::Full,
        "NOAUTH" | "WRONGPASS" => Kind::Denied,
        "WRONGTYPE" => Kind::Unreadable,
        _ => return None,
    })
}

/// The meaning of an error inside of a script.
fn inside_a_script(text: &str) -> Kind {
    // What Redis 7.0, and Redis 7.2 and Valkey put for `NOPERM`.
    let denials = [
        "The user executing the script can't",
        "ACL failure in script",
    ];
    if denials.iter().any(|denial| text.starts_with(denial)) {
        Kind::Denied
    } else {
        by_text(text).unwrap_or(Kind::Refused)
    }
}

/// `Error running script (call to f_…): @user_script:12: -OOM command not allowed …`, or without
/// the hyphen.
fn by_text(text: &str) -> Option<Kind> {
    text.split_whitespace()
        .map(|word| word.trim_start_matches('-'))
        .find_map(|word| match word {
            "READONLY" => Some(Kind::ReadOnly),
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => Some(Kind::Loading),
            "MOVED" | "CROSSSLOT" => Some(Kind::Moved),
            // `Protocol error: unauthenticated multibulk length`: a script has more arguments than
            // Redis reads before a password.
            "NOPERM" | "unauthenticated" => Some(Kind::Denied),
            _ => by_code(word),
        })
}

#[cfg(feature = "redis-tls")]
fn is_tls(error: &RedisError) -> bool {
    use std::{error::Error, io, sync::Arc};

    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<rustls::Error>() {
            return true;
        }
        // The sources of these two skip the error that they wrap.
        cause = if let Some(shared) = current.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            Some(&**shared)
        } else if let Some(inner) = current.downcast_ref().and_then(io::Error::get_ref) {
            Some(inner)
        } else {
            current.source()
        };
    }
    false
}

#[cfg(not(feature = "redis-tls"))]
fn is_tls(_: &RedisError) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;

    /// Each answer of Redis that operators know has a kind of its own, whatever the version.
    #[test]
    fn rp_06_an_error_of_redis_says_what_happened() {
        for (answer, expected) in [
            ("MOVED 3999 127.0.0.1:6381", Kind::Moved),
            ("ASK 3999 127.0.0.1:6381", Kind::Moved),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                Kind::Moved,
            ),
            (
                "READONLY You can't write against a read only replica.",
                Kind::ReadOnly,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Kind::Full,
            ),
            ("NOAUTH Authentication required.", Kind::Denied),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Kind::Denied,
            ),
            (
                "NOPERM this user has no permissions to run the 'evalsha' command",
                Kind::Denied,
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: \
                 0123, on @user_script:1.",
                Kind::Denied,
            ),
            (
                "ERR ACL failure in script: User uploads has no permissions to run the 'time' command \
                 script: 0123, on @user_script:1.",
                Kind::Denied,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                Kind::Loading,
            ),
            ("MASTERDOWN Link with MASTER is down", Kind::Loading),
            ("CLUSTERDOWN The cluster is down", Kind::Loading),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Kind::Unreadable,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots, but",
                Kind::Refused,
            ),
            ("ERR unknown command 'EVALSHA'", Kind::Refused),
            (
                "ERR Protocol error: unauthenticated multibulk length",
                Kind::Denied,
            ),
            (
                "ERR Error running script (call to f_0123): @user_script:58: @user_script: 58: \
                 -OOM command not allowed when used memory > 'maxmemory'.",
                Kind::Full,
            ),
            (
                "ERR Error running script (call to f_0123): @user_script:58: @user_script: 58: \
                 -READONLY You can't write against a read only replica.",
                Kind::ReadOnly,
            ),
        ] {
            let value = parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
            let Value::ServerError(error) = value else {
                panic!("{value:?}")
            };
            let error = store_error(RedisError::from(error).into());
            assert_eq!(error.kind(), expected, "{answer}");
            assert!(std::error::Error::source(&error).is_some());
        }
    }
}
