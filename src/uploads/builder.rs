//! The settings of both halves.

use std::{fmt, sync::Arc, time::Duration};

use super::{Nobody, OssUploads, OssUploadsError};
use crate::{
    policy::{
        CallbackBody, CallbackDirective, CallbackDirectiveError, CredentialsProvider,
        OssPolicyService, TokenFormat,
    },
    protocol::{Bucket, CallbackBodyType, Endpoint, Region},
    ticket::{TicketKey, TicketKeys, Tickets},
};

/// The id of a key that is given without one.
const ONLY_KEY: u16 = 1;

/// The settings of [`OssUploads`]. The region, a callback and a ticket key must be given.
#[must_use = "a builder does nothing until it is built"]
pub struct OssUploadsBuilder {
    bucket: Bucket,
    credentials: Arc<dyn CredentialsProvider>,
    region: Option<Region>,
    endpoint: Option<Endpoint>,
    callback: Option<Result<CallbackDirective, CallbackDirectiveError>>,
    body_type: CallbackBodyType,
    tickets: Option<Tickets>,
    without_tickets: bool,
    upload_time: Option<Duration>,
    format: TokenFormat,
    proxy_prefix: Option<Arc<str>>,
}

impl OssUploadsBuilder {
    pub(super) fn new(bucket: Bucket, credentials: Arc<dyn CredentialsProvider>) -> Self {
        Self {
            bucket,
            credentials,
            region: None,
            endpoint: None,
            callback: None,
            body_type: CallbackBodyType::Form,
            tickets: None,
            without_tickets: false,
            upload_time: None,
            format: TokenFormat::default(),
            proxy_prefix: None,
        }
    }

    /// The region that policies are signed for, as in `cn-hangzhou`.
    pub fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// The host that forms are posted to; by default the public endpoint of the region.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Where OSS calls: this server as OSS sees it. The body of the callback has every variable of OSS, under its own
    /// name.
    pub fn callback_url(self, url: &str) -> Self {
        self.callback_urls([url])
    }

    /// One to five such URLs, tried in this order until one answers.
    pub fn callback_urls<I>(mut self, urls: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        self.callback = Some(
            CallbackDirective::with_urls(urls)
                .and_then(|callback| callback.body(CallbackBody::standard(self.body_type))),
        );
        self
    }

    /// A callback of your own making. It gets the fields that a ticket needs as far as it lacks them.
    pub fn callback(mut self, callback: CallbackDirective) -> Self {
        self.callback = Some(Ok(callback));
        self
    }

    /// How OSS writes the body of the callback, for the URLs that are given after this; a form by default.
    pub fn body_type(mut self, body_type: CallbackBodyType) -> Self {
        self.body_type = body_type;
        self
    }

    /// Seals tickets with this key, and remembers the used ones in memory: for a service that runs once.
    pub fn ticket_key(self, key: TicketKey) -> Self {
        self.tickets(Tickets::in_memory(TicketKeys::new(ONLY_KEY, key)))
    }

    /// Tickets with several keys, another store, or other settings.
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// As [`OssPolicyService::upload_time`]; one hour by default.
    pub fn upload_time(mut self, time: Duration) -> Self {
        self.upload_time = Some(time);
        self
    }

    /// How tokens are written; [`TokenFormat::Fields`] by default.
    pub fn format(mut self, format: TokenFormat) -> Self {
        self.format = format;
        self
    }

    /// What a proxy in front strips from the path: with `/gw`, OSS calls `/gw/oss/callback`, and the route here is
    /// `/oss/callback`. As [`OssCallbackLayer::target_prefix`](crate::OssCallbackLayer::target_prefix).
    pub fn proxy_prefix(mut self, prefix: &str) -> Self {
        self.proxy_prefix = Some(prefix.into());
        self
    }

    /// Takes every callback that OSS has signed, for whomever: anybody can have OSS sign any body for your URL.
    pub fn dangerous_without_tickets(mut self) -> Self {
        self.without_tickets = true;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When the region, the callback or the ticket key is missing, when the callback is none that OSS would call and
    /// the layer would take, or when no policy can be made of it in the token format.
    pub fn build(self) -> Result<OssUploads, OssUploadsError> {
        let region = self.region.ok_or(OssUploadsError::NoRegion)?;
        let callback = self.callback.ok_or(OssUploadsError::NoCallback)?;
        let callback = callback.map_err(OssUploadsError::Callback)?;
        let tickets = match self.tickets {
            None if !self.without_tickets => return Err(OssUploadsError::NoTicketKey),
            tickets => tickets,
        };
        if let Some(prefix) = &self.proxy_prefix {
            let under = format!("/{}/", prefix.trim_matches('/'));
            if !callback
                .targets()
                .all(|target| target.path().starts_with(&under))
            {
                return Err(OssUploadsError::ProxyPrefix);
            }
        }
        let mut tokens = OssPolicyService::new(
            Nobody,
            self.credentials,
            self.bucket,
            region,
            callback.clone(),
        )?
        .format(self.format)?;
        if let Some(endpoint) = self.endpoint {
            tokens = tokens.endpoint(endpoint);
        }
        if let Some(tickets) = &tickets {
            tokens = tokens.tickets(tickets.clone())?;
        }
        if let Some(time) = self.upload_time {
            tokens = tokens.upload_time(time);
        }
        Ok(OssUploads {
            tokens,
            callback,
            tickets,
            proxy_prefix: self.proxy_prefix,
        })
    }
}

impl fmt::Debug for OssUploadsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssUploadsBuilder")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("callback", &self.callback)
            .field("tickets", &self.tickets)
            .finish_non_exhaustive()
    }
}
