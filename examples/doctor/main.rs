//! Checks an account, a bucket and an application for direct uploads.
//!
//! ```text
//! cargo run --example doctor -- --origin https://app.example --report doctor.json
//! ```
//!
//! Reads the environment variables of `appserver`, which docs/sample-drop-in.md lists.

#[path = "../common/exit.rs"]
mod exit;

use std::{env, process::ExitCode};

use doctor::{Options, examine};

const USAGE: &str = "\
usage: doctor [OPTION...]

Checks the settings of appserver (OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET, OSS_HOST, OSS_BUCKET,
OSS_REGION, OSS_CALLBACK_URL, OSS_UPLOAD_DIR, OSS_TICKET_KEY …) against OSS: clock, AccessKey, bucket,
region, CORS rules, permissions, callback URL, signature versions, domain. Stores a few small objects
under OSS_UPLOAD_DIR and deletes them.

  --origin ORIGIN    the page that uploads, such as https://app.example
  --listen ADDRESS   the address on which to receive a callback, such as 0.0.0.0:8090
  --public-url URL   the URL under which OSS reaches that address, such as the one of a tunnel;
                     without it, only an emulator on this machine can call
  --observe          also make the uploads that answer open questions about OSS
  --report FILE      write the findings into a file, as JSON and without secrets

Exits with 1 if a check failed.";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| matches!(&**argument, "-h" | "--help"))
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    exit::exit(run(arguments).await)
}

async fn run(arguments: Vec<String>) -> Result<(), String> {
    let (options, file) = read(arguments)?;
    let report = examine(|name| env::var(name).ok(), options).await;
    print!("{report}");
    if let Some(file) = file {
        let json = report.to_json().map_err(|error| error.to_string())?;
        std::fs::write(&file, json).map_err(|error| format!("failed to write {file}: {error}"))?;
        println!(
            "the report is in {file}; the AccessKey secret and the security token are removed"
        );
    }
    if report.is_healthy() {
        Ok(())
    } else {
        Err("some checks failed; change what they say, and run the doctor again".into())
    }
}

fn read(arguments: Vec<String>) -> Result<(Options, Option<String>), String> {
    let (mut options, mut file) = (Options::default(), None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || format!("{argument} needs a value\n{USAGE}");
            arguments.next().ok_or_else(missing).map(Some)
        };
        match &*argument {
            "--origin" => options.origin = value()?,
            "--listen" => options.listen = value()?,
            "--public-url" => options.public_url = value()?,
            "--report" => file = value()?,
            "--observe" => options.observe = true,
            _ => return Err(format!("unexpected argument {argument:?}\n{USAGE}")),
        }
    }
    Ok((options, file))
}
