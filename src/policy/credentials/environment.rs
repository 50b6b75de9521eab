//! Credentials from environment variables.

use std::{env, ffi::OsString};

use zeroize::Zeroizing;

use super::access_key::{Credentials, CredentialsError};

impl Credentials {
    /// Reads the AccessKey from the environment, under the names that the SDKs of Alibaba Cloud
    /// use:
    ///
    /// | order | id | secret | STS token, optional |
    /// |---|---|---|---|
    /// | 1 | `OSS_ACCESS_KEY_ID` | `OSS_ACCESS_KEY_SECRET` | `OSS_SESSION_TOKEN` |
    /// | 2 | `ALIBABA_CLOUD_ACCESS_KEY_ID` | `ALIBABA_CLOUD_ACCESS_KEY_SECRET` | `ALIBABA_CLOUD_SECURITY_TOKEN` |
    ///
    /// The first set with any variable is used, and must be complete: an id is never combined with
    /// the secret or token of the other set. An empty variable counts as unset.
    ///
    /// The variables are read once. They have no expiry, so a token from the environment is used
    /// until OSS rejects it. Prefer [`RefreshingCredentials`](super::RefreshingCredentials) for
    /// STS.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::{Credentials, CredentialsError};
    ///
    /// match Credentials::from_env() {
    ///     Ok(credentials) => println!("signing as {}", credentials.access_key_id()),
    ///     Err(CredentialsError::Unset) => println!("no AccessKey in the environment"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if no variable is set, if the set is incomplete, or if [`Credentials::new`] rejects a
    /// value. The error names the variable and never contains its value.
    pub fn from_env() -> Result<Self, CredentialsError> {
        Self::from_env_with(|name| env::var_os(name))
    }

    /// Like [`from_env`](Self::from_env), but looks up the variables with a function: for tests, or
    /// for settings from another source under the same names.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::Credentials;
    ///
    /// let credentials = Credentials::from_env_with(|name| match name {
    ///     "OSS_ACCESS_KEY_ID" => Some("LTAI5tExample".into()),
    ///     "OSS_ACCESS_KEY_SECRET" => Some("secret".into()),
    ///     _ => None,
    /// })?;
    /// assert_eq!(credentials.access_key_id(), "LTAI5tExample");
    /// # Ok::<(), tower_aliyun_oss::policy::CredentialsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`from_env`](Self::from_env) does.
    pub fn from_env_with(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CredentialsError> {
        for names in NAMES {
            // Container tools pass unset variables as empty ones.
            let read = |name| variable(name).map(text).filter(|text| !text.is_empty());
            match (read(names.id), read(names.secret), read(names.token)) {
                (None, None, None) => {}
                (Some(id), Some(secret), token) => return names.credentials(&id, &secret, token),
                (None, ..) => return Err(CredentialsError::Missing(names.id)),
                (_, None, _) => return Err(CredentialsError::Missing(names.secret)),
            }
        }
        Err(CredentialsError::Unset)
    }
}

/// The names of one set of variables.
struct Names {
    id: &'static str,
    secret: &'static str,
    token: &'static str,
}

/// The names for OSS alone, used by its second-generation SDKs, precede those for all of Alibaba
/// Cloud.
const NAMES: [Names; 2] = [
    Names {
        id: "OSS_ACCESS_KEY_ID",
        secret: "OSS_ACCESS_KEY_SECRET",
        token: "OSS_SESSION_TOKEN",
    },
    Names {
        id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
        secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        token: "ALIBABA_CLOUD_SECURITY_TOKEN",
    },
];

impl Names {
    fn credentials(
        &self,
        id: &str,
        secret: &str,
        token: Option<Zeroizing<String>>,
    ) -> Result<Credentials, CredentialsError> {
        let pair = Credentials::new(id, secret).map_err(|error| self.invalid(error))?;
        match token {
            Some(token) => pair
                .with_security_token(token.as_str())
                .map_err(|error| self.invalid(error)),
            None => Ok(pair),
        }
    }

    fn invalid(&self, error: CredentialsError) -> CredentialsError {
        let name = match error {
            CredentialsError::EmptyId | CredentialsError::IdCharacter => self.id,
            CredentialsError::EmptySecret | CredentialsError::SecretCharacter => self.secret,
            CredentialsError::EmptyToken | CredentialsError::TokenCharacter => self.token,
            // Errors of the environment, not of a value.
            CredentialsError::Unset
            | CredentialsError::Missing(_)
            | CredentialsError::Variable(..) => return error,
        };
        CredentialsError::Variable(name, Box::new(error))
    }
}

/// Replaces invalid UTF-8 with U+FFFD, which [`Credentials::new`] then rejects.
fn text(value: OsString) -> Zeroizing<String> {
    Zeroizing::new(value.into_string().unwrap_or_else(|value| {
        let bytes = Zeroizing::new(value.into_encoded_bytes());
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 6] = [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ];

    /// Each variable that is set contains its own name, which shows where a value came from.
    fn named(set: impl Fn(&str) -> bool) -> Result<Credentials, CredentialsError> {
        Credentials::from_env_with(|name| set(name).then(|| name.into()))
    }

    #[test]
    fn the_two_sets_are_never_mixed() {
        for chosen in 0..1 << ALL.len() {
            let set = |name: &str| {
                let bit = ALL.iter().position(|known| *known == name).unwrap();
                chosen & (1 << bit) != 0
            };
            let oss = ALL[..3].iter().any(|name| set(name));
            let prefix = if oss { "OSS_" } else { "ALIBABA_CLOUD_" };
            let own = if oss { &ALL[..3] } else { &ALL[3..] };
            match named(set) {
                Ok(credentials) => {
                    assert_eq!(credentials.access_key_id(), own[0]);
                    assert_eq!(credentials.secret().text(), own[1]);
                    let token = set(own[2]).then_some(own[2]);
                    assert_eq!(credentials.security_token(), token);
                }
                Err(CredentialsError::Unset) => assert_eq!(chosen, 0),
                Err(CredentialsError::Missing(name)) => {
                    assert!(name.starts_with(prefix) && !set(name), "{name}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let empty = |name: &str| match name {
            "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("id".into()),
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some("secret".into()),
            _ => Some(OsString::new()),
        };
        let credentials = Credentials::from_env_with(empty).unwrap();
        assert_eq!(credentials.access_key_id(), "id");
        assert_eq!(credentials.security_token(), None);
    }

    #[test]
    fn pl_22_the_variable_with_a_stray_is_named_and_its_value_not_shown() {
        for (name, error) in [
            (ALL[0], CredentialsError::IdCharacter),
            (ALL[1], CredentialsError::SecretCharacter),
            (ALL[2], CredentialsError::TokenCharacter),
        ] {
            for stray in ["canary\n", "\u{feff}canary", "canary\0"] {
                let of = |n: &str| Some(if n == name { stray } else { "fine" }.into());
                let refused = Credentials::from_env_with(of).unwrap_err();
                assert_eq!(
                    refused,
                    CredentialsError::Variable(name, Box::new(error.clone()))
                );
                for shown in [refused.to_string(), format!("{refused:#?}")] {
                    assert!(!shown.contains("canary"), "{shown}");
                    assert_eq!(shown, format!("{name}: {error}"));
                }
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf_8_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = |_: &str| Some(OsString::from_vec(vec![b's', 0xff]));
        assert_eq!(
            Credentials::from_env_with(bytes).unwrap_err(),
            CredentialsError::Variable(ALL[0], Box::new(CredentialsError::IdCharacter))
        );
    }
}
