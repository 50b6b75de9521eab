//! What stands on the command line.

use std::net::{Ipv4Addr, SocketAddr};

pub(crate) const USAGE: &str = "\
usage: server [--listen ADDRESS] [--oss-listen ADDRESS] [--allow-origin ORIGIN]…

  --listen ADDRESS       the application and its page, 127.0.0.1:8080 by default
  --oss-listen ADDRESS   the emulator of OSS, 127.0.0.1:9000 by default
  --allow-origin ORIGIN  pages of this origin may ask for tokens and upload

A port of 0 takes a free one.";

pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) oss_listen: SocketAddr,
    pub(crate) allow_origins: Vec<String>,
}

impl Options {
    /// `None` when help is asked for.
    pub(crate) fn from_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Self>, String> {
        let mut options = Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            oss_listen: (Ipv4Addr::LOCALHOST, 9000).into(),
            allow_origins: Vec::new(),
        };
        while let Some(name) = arguments.next() {
            if matches!(&*name, "-h" | "--help") {
                return Ok(None);
            }
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            match &*name {
                "--listen" => options.listen = address(&value()?)?,
                "--oss-listen" => options.oss_listen = address(&value()?)?,
                "--allow-origin" => options.allow_origins.push(origin(value()?)?),
                _ => return Err(format!("{name:?} is no option\n{USAGE}")),
            }
        }
        Ok(Some(options))
    }

    /// Every origin whose pages may post to the emulator: ours, and those that are allowed.
    pub(crate) fn origins(&self, own: SocketAddr) -> Vec<String> {
        let mut origins = vec![format!("http://{own}")];
        if own.ip().is_loopback() {
            origins.push(format!("http://localhost:{}", own.port()));
        }
        origins.extend(self.allow_origins.iter().cloned());
        origins
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is no address; write it as 127.0.0.1:8080"))?;
    if address.ip().is_unspecified() {
        // The address stands in tokens and callbacks, so it must be one that can be connected to.
        return Err(format!(
            "{text} is every address; name the one that browsers shall use"
        ));
    }
    Ok(address)
}

fn origin(text: String) -> Result<String, String> {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '*']) => Ok(text),
        _ => Err(format!(
            "{text:?} is no origin; write it as https://app.example"
        )),
    }
}
