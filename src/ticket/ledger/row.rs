//! A row as bytes, for a ledger outside the process.

use std::{borrow::Cow, error::Error};

use serde::{Deserialize, Serialize};

use super::{CallbackCall, GrantedUpload, from_unix, unix_seconds};
use crate::{
    protocol::CallbackBodyType,
    ticket::store::{Nonce, StoreError, StoreErrorKind},
};

/// The first byte of a row.
const VERSION: u8 = 1;

/// The members have short names, because there is one row for every granted upload.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    /// Nonce, as a number in hexadecimal digits.
    #[serde(borrow)]
    n: Cow<'a, str>,
    /// Bucket.
    #[serde(borrow)]
    b: Cow<'a, str>,
    /// Object key.
    #[serde(borrow)]
    k: Cow<'a, str>,
    /// Granted at, in Unix seconds.
    g: u64,
    /// Expiry of the ticket, in Unix seconds.
    e: u64,
    /// Callback target.
    #[serde(borrow)]
    t: Cow<'a, str>,
    /// Callback host.
    #[serde(borrow)]
    h: Cow<'a, str>,
    /// Whether the body is JSON.
    j: bool,
    /// Template of the body.
    #[serde(borrow)]
    c: Cow<'a, str>,
    /// Custom variables.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    x: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl GrantedUpload {
    /// The maximum length of a row, in bytes. The callback and the custom variables have at most
    /// 5 KiB of Base64 each, and the object key 1,023 bytes.
    pub const MAX_LEN: usize = 24 * 1024;

    /// Serializes the row: a version byte, then JSON.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::RowTooLong`] if the row exceeds [`Self::MAX_LEN`], which no
    /// upload does that OSS accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let nonce = format!("{:032x}", u128::from_be_bytes(*self.nonce.as_bytes()));
        let members = Members {
            n: nonce.into(),
            b: self.bucket.as_str().into(),
            k: self.key.as_str().into(),
            g: unix_seconds(self.granted_at),
            e: unix_seconds(self.expires),
            t: (&*self.call.target).into(),
            h: (&*self.call.host).into(),
            j: self.call.body_type == CallbackBodyType::Json,
            c: (&*self.call.template).into(),
            x: self
                .call
                .get_variables()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        };
        let mut out = vec![VERSION];
        serde_json::to_writer(&mut out, &members)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Refused, error))?;
        if out.len() > Self::MAX_LEN {
            return Err(StoreErrorKind::RowTooLong.into());
        }
        Ok(out)
    }

    /// Parses the output of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::Unreadable`] if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let json = match bytes {
            [VERSION, json @ ..] if bytes.len() <= Self::MAX_LEN => json,
            _ => return Err(StoreErrorKind::Unreadable.into()),
        };
        // The cause is dropped: it can quote the row.
        let members: Members<'_> =
            serde_json::from_slice(json).map_err(|_| StoreErrorKind::Unreadable)?;
        let nonce = u128::from_str_radix(&members.n, 16).map_err(unreadable)?;
        let body_type = match members.j {
            true => CallbackBodyType::Json,
            false => CallbackBodyType::Form,
        };
        let call = CallbackCall::new(&members.t, &members.h, body_type, &members.c);
        let variables = members.x.iter().map(|(name, value)| (&**name, &**value));
        Ok(Self::new(
            Nonce::from_bytes(nonce.to_be_bytes()),
            members.b.parse().map_err(unreadable)?,
            members.k.parse().map_err(unreadable)?,
            from_unix(members.g),
            from_unix(members.e),
            call.variables(variables),
        ))
    }
}

fn unreadable(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unreadable, error)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn upload(template: &str, variables: &[(String, String)]) -> GrantedUpload {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let (bucket, key) = ("examplebucket".parse().unwrap(), "a/é.png".parse().unwrap());
        let nonce = Nonce::for_object(&bucket, &key, [7; 16]);
        let call = CallbackCall::new("/cb?a=%2F", "app.example", CallbackBodyType::Json, template);
        let variables = variables.iter().map(|(name, value)| (&**name, &**value));
        let call = call.variables(variables);
        GrantedUpload::new(nonce, bucket, key, at, at + Duration::from_secs(60), call)
    }

    proptest! {
        #[test]
        fn a_row_survives_its_bytes(
            template in ".*",
            variables in prop::collection::vec((".*", ".*"), 0..3),
        ) {
            let upload = upload(&template, &variables);
            let bytes = upload.to_bytes().unwrap();
            prop_assert_eq!(bytes[0], VERSION);
            prop_assert_eq!(GrantedUpload::from_bytes(&bytes).unwrap(), upload);
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = GrantedUpload::from_bytes(&bytes);
        }

        #[test]
        fn a_changed_row_is_an_error_or_another_row(at in 0_usize..200, byte in any::<u8>()) {
            let mut bytes = upload("a=${object}", &[]).to_bytes().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = GrantedUpload::from_bytes(&bytes);
        }
    }

    #[test]
    fn another_version_or_length_is_unreadable() {
        let good = upload("a=${object}", &[]).to_bytes().unwrap();
        let mut other = good.clone();
        other[0] = 2;
        let mut long = good.clone();
        long.extend([b' '; GrantedUpload::MAX_LEN]);
        for bytes in [&[][..], &[1], &other, &good[..good.len() - 1], &long] {
            let error = GrantedUpload::from_bytes(bytes).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unreadable);
        }
        let long = upload(&"a".repeat(GrantedUpload::MAX_LEN), &[]);
        let error = long.to_bytes().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::RowTooLong);
    }

    #[test]
    fn debug_shows_neither_the_ticket_nor_a_value() {
        let upload = upload("x:ticket=canary", &[("x:a".into(), "canary".into())]);
        let shown = format!("{upload:?} {:#?} {:?}", upload, upload.call());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn times_are_whole_seconds_and_follow_from_the_expiry() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_900);
        let with = upload("", &[]);
        let made = GrantedUpload::new(
            with.nonce(),
            with.bucket().clone(),
            with.key().clone(),
            at,
            at,
            with.call().clone(),
        );
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        assert_eq!((made.granted_at(), made.expires()), (second, second));
        assert_eq!(made.due_at(), second + Duration::from_secs(60));
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        assert_eq!(made.until(), made.due_at() + week);
    }
}
