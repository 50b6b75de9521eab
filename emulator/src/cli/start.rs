//! The lines that the program prints at its start: where it listens, and how SDKs reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use super::options::{ConsoleAccess, Options};
use crate::service::Emulator;

/// The addresses and names of a running emulator.
pub(super) struct Start<'a> {
    options: &'a Options,
    address: SocketAddr,
    /// Where clients on this machine connect.
    url: String,
    buckets: Vec<String>,
    region: String,
}

impl<'a> Start<'a> {
    pub(super) fn new(options: &'a Options, emulator: &Emulator, address: SocketAddr) -> Self {
        let buckets = emulator.0.store.buckets().all();
        Self {
            url: url(options, address),
            region: emulator.0.region.to_string(),
            buckets: buckets
                .iter()
                .map(|bucket| bucket.name.to_string())
                .collect(),
            address,
            options,
        }
    }

    /// Returns the start message as an object.
    pub(super) fn object(&self) -> Value {
        json!({
            "url": self.url,
            "address": self.address.to_string(),
            "region": self.region,
            "buckets": self.buckets,
            "createBuckets": self.options.create_buckets,
            "keys": self.options.keys.iter().map(|key| key.id()).collect::<Vec<_>>(),
            "data": self.options.data.as_ref().map(|data| data.display().to_string()),
            "console": self.console(),
        })
    }

    /// Returns the start message as text.
    pub(super) fn text(&self) -> String {
        let Self { url, region, .. } = self;
        let id = self.options.keys.first().map_or("ID", |key| key.id());
        // Only the default is published, and so not a secret.
        let secret = match self.options.default_key {
            true => "test-secret",
            false => "SECRET",
        };
        let bucket = self.buckets.first().map_or("BUCKET", String::as_str);
        let buckets = match self.buckets.join(", ") {
            none if none.is_empty() => "none yet".to_owned(),
            some => some,
        };
        let mut text = format!(
            "listening on {}/{bucket}\n\
             \n\
             region {region}, buckets: {buckets}\n",
            self.local_url()
        );
        if let Some(console) = self.console() {
            text.push_str(&format!("page of objects and requests: {console}\n"));
        }
        text.push_str(&format!(
            "\n\
             Python   oss2.Bucket(oss2.AuthV4(\"{id}\", \"{secret}\"), \"{url}\", \"{bucket}\", \
             region=\"{region}\", is_path_style=True)\n\
             Node.js  new OSS({{ endpoint: \"{url}\", region: \"oss-{region}\", authorizationV4: true, \
             bucket: \"{bucket}\", accessKeyId: \"{id}\", accessKeySecret: \"{secret}\" }})\n\
             Java     conf.setSLDEnabled(true); conf.setSignatureVersion(SignVersion.V4); \
             .endpoint(\"{url}\").region(\"{region}\")\n\
             Go       oss.LoadDefaultConfig().WithEndpoint(\"{url}\").WithRegion(\"{region}\").\
             WithUsePathStyle(true)\n\
             \n"
        ));
        text.push_str(self.host_hint());
        text
    }

    /// Returns what to know about host names.
    fn host_hint(&self) -> &'static str {
        if self.options.public_url.is_some() {
            "Python, Java and Go put the bucket into the path. ali-oss for Node.js does not unless the \
             host is an IP address: it needs BUCKET.HOST in the name server."
        } else {
            "Use the IP address and path style, as above: BUCKET.localhost does not resolve everywhere. \
             For another host name, set --public-url."
        }
    }

    fn console(&self) -> Option<String> {
        let ip = self.address.ip();
        let local = ip.is_loopback() || ip.is_unspecified();
        match self.options.console {
            ConsoleAccess::Off => None,
            ConsoleAccess::Local if !local => None,
            ConsoleAccess::Local => Some(format!("{}/_emulator/", self.local_url())),
            ConsoleAccess::All => Some(format!("{}/_emulator/", self.url)),
        }
    }

    fn local_url(&self) -> String {
        local_url(self.options.tls.is_some(), self.address)
    }
}

fn url(options: &Options, address: SocketAddr) -> String {
    match &options.public_url {
        None => local_url(options.tls.is_some(), address),
        Some(url) => {
            let scheme = if url.https { "https" } else { "http" };
            let port = url.port.map_or_else(String::new, |port| format!(":{port}"));
            format!("{scheme}://{}{port}", url.host)
        }
    }
}

fn local_url(https: bool, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if https { "https" } else { "http" };
    format!("{scheme}://{address}")
}
