//! The parser of the command line and of the environment.

use clap::{Arg, ArgAction, Command};

/// Where the program listens by default.
pub(super) const LISTEN: &str = "127.0.0.1:9000";
/// The limit of objects in memory by default, in MiB.
pub(super) const MEMORY: &str = "1024";

/// One option: its name, the placeholder of its value, and its help. The environment variable is
/// `OSS_EMULATOR_` and the name in capitals.
type Row = (&'static str, &'static str, &'static str);

/// Options with one value.
const SINGLE: [Row; 10] = [
    (
        "listen",
        "ADDRESS",
        "Address to listen on, such as 127.0.0.1:9000 or 0.0.0.0:9000; port 0 selects a free port",
    ),
    (
        "public-url",
        "URL",
        "How clients reach the emulator, if not at the address that it listens on: http://HOST[:PORT] \
         or https://…; BUCKET.HOST then names a bucket",
    ),
    (
        "region",
        "REGION",
        "Region that signatures of version 4 must name [default: cn-hangzhou]",
    ),
    (
        "data",
        "DIR",
        "Folder for objects, which stay after the end of the program [default: in memory]",
    ),
    (
        "memory",
        "MIB",
        "How much memory objects may take without --data, in MiB",
    ),
    (
        "seed",
        "DIR",
        "Folder with objects to start with, DIR/BUCKET/KEY; existing objects are kept",
    ),
    (
        "drop-idle-uploads",
        "SECONDS",
        "Drops uploads in parts to which no part was added for this long [default: never]",
    ),
    (
        "callback-ca",
        "FILE",
        "Root certificates that callbacks to https URLs trust too, a PEM file: the CA of a test",
    ),
    (
        "log",
        "FORMAT",
        "Format of the access log on standard output: text or json",
    ),
    (
        "console",
        "WHO",
        "Who may use /_emulator/: local (this machine), all (every client) or off",
    ),
];

/// Options that may repeat, or have several values with commas between them.
const REPEATED: [Row; 5] = [
    (
        "bucket",
        "NAME[:ACL]",
        "Bucket; the ACL is private, public-read or public-read-write [default: examplebucket, unless \
         there are others]",
    ),
    (
        "foreign-bucket",
        "NAME",
        "Name of a bucket of another account: it cannot be created, and requests to it are refused",
    ),
    (
        "key",
        "ID:SECRET[:TOKEN]",
        "AccessKey, with an STS token that does not expire [default: test-id:test-secret]",
    ),
    (
        "allow-callback",
        "URL",
        "Allows callbacks to the host and the port of this URL, even if its address is private",
    ),
    (
        "allow-origin",
        "ORIGIN",
        "Allows pages of this origin to send requests, such as https://app.example, or * for all \
         [default: pages of this machine]",
    ),
];

/// Options that are on or off.
const FLAGS: [Row; 4] = [
    (
        "create-buckets",
        "",
        "Lets clients create buckets; without --bucket, the program starts with no bucket",
    ),
    (
        "allow-private-callbacks",
        "",
        "Allows callbacks to every private address, including this machine",
    ),
    (
        "lenient-forms",
        "",
        "Accepts forms that OSS cannot read but that RFC 7578 allows",
    ),
    (
        "refuse-v1",
        "",
        "Rejects signatures of version 1, as OSS does for new accounts",
    ),
];

pub(super) const TLS: &str = "tls";

/// Returns the parser of the command line.
pub(super) fn command() -> Command {
    let options = SINGLE.iter().map(|row| {
        let default = match row.0 {
            "listen" => Some(LISTEN),
            "memory" => Some(MEMORY),
            "log" => Some("text"),
            "console" => Some("local"),
            _ => None,
        };
        let option = option(row);
        match default {
            Some(default) => option.default_value(default),
            None => option,
        }
    });
    let repeated = REPEATED.iter().map(|row| {
        option(row)
            .action(ArgAction::Append)
            .value_delimiter(',')
            .long_help(format!(
                "{}. May repeat, or have several values with commas",
                row.2
            ))
    });
    let flags = FLAGS.iter().map(|row| {
        option(row)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true)
    });
    let tls = option(&(
        TLS,
        "",
        "Serves HTTPS with this certificate chain and private key, both PEM files",
    ))
    .value_names(["CERT", "KEY"])
    .num_args(1..=2)
    .value_delimiter(',');
    Command::new("oss-emulator")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Alibaba Cloud OSS on one machine, for tests and development")
        .after_help(
            "Each option can also come from the environment variable that is shown with it.",
        )
        .args(options)
        .args(repeated)
        .args(flags)
        .arg(tls)
        .subcommand(Command::new("health").about(
            "Exits with 0 if the emulator with these options, on this machine, is ready; for the \
             health checks of containers",
        ))
}

fn option(row: &Row) -> Arg {
    let (name, value, help) = *row;
    let variable = variable(name);
    let option = Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        // A secret must not appear in the help.
        .hide_env_values(true);
    match std::env::var_os(&variable) {
        // Compose files set a variable that has no value to an empty text.
        Some(value) if value.is_empty() => option,
        _ => option.env(variable),
    }
}

/// Returns the environment variable of an option.
pub(super) fn variable(name: &str) -> String {
    let name = name.replace('-', "_").to_ascii_uppercase();
    format!("OSS_EMULATOR_{name}")
}
