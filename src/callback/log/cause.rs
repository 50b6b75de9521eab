//! The causes of rejections that are warned of, and how often.

use std::{
    error::Error as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    callback::error::{CallbackError, CallbackErrorKind as Kind},
    protocol::TargetError,
    storage::{StorageError, StorageErrorKind},
    ticket::TicketError,
};

macro_rules! causes {
    ($($cause:ident, $text:literal;)*) => {
        /// Why callbacks that OSS may really have sent are rejected. Each is a warning once, and
        /// once an hour again with a count: anyone can provoke some of them.
        ///
        /// Does not include what any stray request causes: a wrong method, a missing or malformed
        /// header, a body that does not arrive, a signature of another key.
        #[derive(Clone, Copy)]
        pub(super) enum Cause {
            $($cause,)*
        }

        impl Cause {
            pub(super) const COUNT: usize = [$(Self::$cause),*].len();

            pub(super) const fn text(self) -> &'static str {
                match self {
                    $(Self::$cause => $text,)*
                }
            }
        }
    };
}

causes! {
    Mismatch, "a signature that OSS made with this key does not match: something in front changes the \
        path, the query or the body, or the callback is replayed elsewhere; set the log level of \
        tower_aliyun_oss::diagnose to DEBUG to find out what";
    KeyUrl, "a callback is rejected because the URL of its key is not in the table of the key source; \
        if another store than OSS made it, set key_source";
    Plus, "a callback is rejected because its path contains a plus sign; write callbackUrl without \
        it, name the path with only_path, or use tickets";
    Encoded, "a callback is rejected because its path contains the escape of a reserved character; \
        write callbackUrl without it, name the path with only_path, or use tickets";
    Character, "a callback is rejected because its path contains a character that is not allowed \
        unencoded (did a proxy decode the path?); write callbackUrl encoded, name the path with \
        only_path, or use tickets";
    EmptySegment, "a callback is rejected because its path contains an empty segment; remove the \
        doubled slash from callbackUrl, name the path with only_path, or use tickets";
    Control, "a callback is rejected because its path contains a control byte, which nothing can \
        allow; write callbackUrl without it";
    NotUtf8, "a callback is rejected because the escapes in its path are not UTF-8, which nothing can \
        allow; write callbackUrl in UTF-8";
    Escape, "a callback is rejected because its path contains a percent sign that starts no escape, \
        which nothing can allow; write it as %25 in callbackUrl, and name the path with only_path or \
        use tickets";
    DotSegment, "a callback is rejected because its path contains a segment \".\" or \"..\", which \
        nothing can allow; write callbackUrl without it";
    Spelling, "a callback is rejected because its path is not spelled as in the callback URL, or not \
        canonically where a router, proxy_prefix or target_uri has read it already; check whether a \
        proxy rewrites the path, write callbackUrl canonically, put the layer outside of the router, \
        or name the spelling with only_path";
    NotConfigured, "a callback is rejected because it was signed for a path that only_path does not \
        name; check only_path, proxy_prefix and target_uri";
    Version, "a callback is rejected because its signature version is not 1.0; OSS offers version 2.0 \
        by invitation only, and its formula is not published";
    ContentType, "a callback is rejected because its content type is not one that the layer accepts; \
        check callbackBodyType and content_types";
    ContentEncoding, "a callback is rejected because its body has a content encoding, which OSS does \
        not send; something in front compresses it";
    TooLarge, "a callback is rejected because its body is over the limit; check body_limit, and the \
        limits in front of the layer";
    Length, "a callback is rejected because its body does not have the length of content-length; \
        something in front reads or changes the body";
    TicketMissing, "a callback is rejected because its body has no ticket; issue tokens with the \
        tickets of the layer, or with OssUploads, and keep the callback parameters as issued";
    TicketForged, "a callback is rejected because its ticket is forged, changed, or made with a key \
        that this server does not have; give all servers the same ticket keys, and keep an old key \
        as long as its tickets";
    TicketTime, "a callback is rejected because its ticket, made with a key of this server, has \
        expired or is valid for too long; check the clocks, the lifetime of the grant and \
        upload_time";
    TicketTarget, "a callback is rejected because its ticket, made with a key of this server, is for \
        another callback target: something in front changes the path or the query, or the callback \
        is sent to another route; check callback_url and proxy_prefix";
    StrippedPrefix, "a proxy strips a prefix that is not set";
    TicketBodyType, "a callback is rejected because its ticket, made with a key of this server, is \
        for another body type: something in front changes the content type";
    OutsideGrant, "a callback that OSS signed is rejected because it is outside of what its ticket \
        grants; set the log level of tower_aliyun_oss::rejection to DEBUG to see why";
    TicketUsed, "a callback that OSS signed is rejected because its ticket was used for another \
        upload; request a token for each file, or allow more uses in the grant";
    Deadline, "a callback is rejected because body, key and store together missed the deadline; check \
        the store of used tickets and the key source";
    NotConfirmed, "a callback that OSS signed is rejected because the object is not stored as it \
        reports: its uploader forged it, or the object was replaced or deleted since";
    ConfirmCredentials, "a callback is rejected with 503 because there are no credentials to ask OSS \
        whether the upload is stored; check the credentials provider of the storage";
    ConfirmDenied, "a callback is rejected with 503 because OSS denies HeadObject; grant \
        oss:GetObject and oss:ListObjects to the AccessKey of the storage, and check its region and \
        the clock of this machine";
    ConfirmRejected, "a callback is rejected with 503 because OSS rejects HeadObject, or something \
        else responds; check the endpoint, the region and the bucket of the storage";
    ConfirmThrottled, "a callback is rejected with 503 because OSS limits the rate of HeadObject; ask \
        Alibaba Cloud for a higher limit, or confirm fewer uploads";
    ConfirmUnreachable, "a callback is rejected with 503 because OSS did not respond to HeadObject in \
        time; check the endpoint of the storage (inside of the region, the internal one) and the \
        network";
}

impl Cause {
    pub(super) fn of(error: &CallbackError) -> Option<Self> {
        let source = error.source();
        Some(match error.kind() {
            Kind::KeyUrlRejected => Self::KeyUrl,
            Kind::NonCanonicalTarget => match source?.downcast_ref()? {
                TargetError::Plus => Self::Plus,
                TargetError::Encoded => Self::Encoded,
                TargetError::Character => Self::Character,
                TargetError::EmptySegment => Self::EmptySegment,
                TargetError::Control => Self::Control,
                TargetError::NotUtf8 => Self::NotUtf8,
                TargetError::Escape => Self::Escape,
                TargetError::DotSegment => Self::DotSegment,
                TargetError::Spelling => Self::Spelling,
                TargetError::NotConfigured => Self::NotConfigured,
                _ => return None,
            },
            Kind::UnsupportedSignatureVersion => Self::Version,
            Kind::UnsupportedContentType => Self::ContentType,
            Kind::UnsupportedContentEncoding => Self::ContentEncoding,
            Kind::BodyTooLarge => Self::TooLarge,
            // A body that fails has a source.
            Kind::BodyIncomplete if source.is_none() => Self::Length,
            Kind::TicketMissing => Self::TicketMissing,
            Kind::TicketInvalid => match source?.downcast_ref()? {
                // These come after the MAC, so the ticket is one of this server.
                TicketError::Expired | TicketError::TooFar => Self::TicketTime,
                TicketError::BodyType => Self::TicketBodyType,
                // Warned of where the request is known.
                TicketError::Target => return None,
                _ => Self::TicketForged,
            },
            Kind::OutsideGrant => Self::OutsideGrant,
            Kind::TicketUsed => Self::TicketUsed,
            Kind::NotConfirmed => Self::NotConfirmed,
            Kind::ConfirmationUnavailable => {
                let why: &StorageError = source?.downcast_ref()?;
                match why.kind() {
                    StorageErrorKind::Credentials => Self::ConfirmCredentials,
                    StorageErrorKind::Denied => Self::ConfirmDenied,
                    StorageErrorKind::Throttled => Self::ConfirmThrottled,
                    StorageErrorKind::Unavailable | StorageErrorKind::TimedOut => {
                        Self::ConfirmUnreachable
                    }
                    _ => Self::ConfirmRejected,
                }
            }
            Kind::DeadlineExceeded => Self::Deadline,
            _ => return None,
        })
    }
}

/// When a cause was warned of, and how often it occurred since.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    /// In seconds after the start of the log. 0 if the cause has not occurred yet.
    next: AtomicU64,
    since: AtomicU64,
}

impl Repeated {
    const EVERY: u64 = 60 * 60;

    /// Counts an occurrence. Returns the count since the last warning if another one is due.
    pub(super) fn occurred(&self, seconds: u64) -> Option<u64> {
        self.since.fetch_add(1, Relaxed);
        let next = self.next.load(Relaxed);
        if next > seconds {
            return None;
        }
        let after = seconds.saturating_add(Self::EVERY);
        // Of several threads, one warns.
        self.next
            .compare_exchange(next, after, Relaxed, Relaxed)
            .ok()
            .map(|_| self.since.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_warned_of_once_and_hourly_with_a_count() {
        let repeated = Repeated::default();
        assert_eq!(repeated.occurred(0), Some(1));
        for seconds in [0, 1, 3599] {
            assert_eq!(repeated.occurred(seconds), None);
        }
        assert_eq!(repeated.occurred(3600), Some(4));
        assert_eq!(repeated.occurred(7199), None);
        assert_eq!(repeated.occurred(9000), Some(2));
    }
}
