//! The AccessKey out of the environment.

use std::{env, ffi::OsString};

use zeroize::Zeroizing;

use super::{Credentials, CredentialsError, EnvironmentError};

/// Names that belong together.
struct Names {
    id: &'static str,
    secret: &'static str,
    token: &'static str,
}

/// First what is meant for OSS alone (its SDKs of the second generation), then what is meant for all of Alibaba Cloud.
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

impl Credentials {
    /// The AccessKey from the environment of the process, under the names that Alibaba's SDKs use:
    ///
    /// | order | id | secret | token of STS, optional |
    /// |---|---|---|---|
    /// | 1 | `OSS_ACCESS_KEY_ID` | `OSS_ACCESS_KEY_SECRET` | `OSS_SESSION_TOKEN` |
    /// | 2 | `ALIBABA_CLOUD_ACCESS_KEY_ID` | `ALIBABA_CLOUD_ACCESS_KEY_SECRET` | `ALIBABA_CLOUD_SECURITY_TOKEN` |
    ///
    /// The first set of which any variable is set is the one that counts, and it has to be whole: an id is never put
    /// together with the secret or the token of the other set. An empty variable counts as unset.
    ///
    /// The variables are read once, here. They cannot say when a token ends, so a token from the environment is used
    /// until OSS refuses it; prefer [`RefreshingCredentials`](super::RefreshingCredentials) for STS.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::{Credentials, EnvironmentError};
    ///
    /// match Credentials::from_env() {
    ///     Ok(credentials) => println!("signing as {}", credentials.access_key_id()),
    ///     Err(EnvironmentError::Unset) => println!("no access key in the environment"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When no set has a variable, one of the set is missing, or a value is not what [`Credentials::new`] takes. The
    /// error names the variable, never its value.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_env_with(|name| env::var_os(name))
    }

    /// [`from_env`](Self::from_env), with the variables looked up by a function: for tests, or for settings that come
    /// from elsewhere under the same names.
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
    /// # Ok::<(), tower_aliyun_oss::policy::EnvironmentError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_env_with(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, EnvironmentError> {
        for names in NAMES {
            let read = |name| variable(name).map(text).filter(|text| !text.is_empty());
            match (read(names.id), read(names.secret), read(names.token)) {
                (None, None, None) => {}
                (Some(id), Some(secret), token) => return names.credentials(&id, &secret, token),
                (None, ..) => return Err(EnvironmentError::Missing(names.id)),
                (_, None, _) => return Err(EnvironmentError::Missing(names.secret)),
            }
        }
        Err(EnvironmentError::Unset)
    }
}

impl Names {
    fn credentials(
        &self,
        id: &str,
        secret: &str,
        token: Option<Zeroizing<String>>,
    ) -> Result<Credentials, EnvironmentError> {
        let pair = Credentials::new(id, secret).map_err(|error| self.invalid(error))?;
        match token {
            Some(token) => pair
                .with_security_token(token.as_str())
                .map_err(|error| self.invalid(error)),
            None => Ok(pair),
        }
    }

    fn invalid(&self, error: CredentialsError) -> EnvironmentError {
        let name = match error {
            CredentialsError::EmptyId | CredentialsError::IdCharacter => self.id,
            CredentialsError::EmptySecret | CredentialsError::SecretCharacter => self.secret,
            CredentialsError::EmptyToken | CredentialsError::TokenCharacter => self.token,
        };
        EnvironmentError::Invalid(name, error)
    }
}

/// What is not UTF-8 holds U+FFFD afterwards, which no AccessKey does.
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

    /// Every variable that is set holds its own name, so it shows where a value came from.
    fn named(set: impl Fn(&str) -> bool) -> Result<Credentials, EnvironmentError> {
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
                    assert_eq!(credentials.secret(), own[1].as_bytes());
                    let token = set(own[2]).then_some(own[2]);
                    assert_eq!(credentials.security_token(), token);
                }
                Err(EnvironmentError::Unset) => assert_eq!(chosen, 0),
                Err(EnvironmentError::Missing(name)) => {
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
                assert_eq!(refused, EnvironmentError::Invalid(name, error));
                let source = std::error::Error::source(&refused).unwrap().to_string();
                for shown in [refused.to_string(), source, format!("{refused:#?}")] {
                    assert!(!shown.contains("canary"), "{shown}");
                }
                assert!(refused.to_string().contains(name));
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
            EnvironmentError::Invalid(ALL[0], CredentialsError::IdCharacter)
        );
    }
}
