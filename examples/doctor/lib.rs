//! Checks an account, a bucket and an application for direct uploads.
//!
//! [`examine`] makes small requests to OSS with the settings of `appserver`, and describes each
//! request, its answer and the remedy. [`Report`] prints the findings, and writes them into a
//! file without secrets.
//!
//! | file | content |
//! |---|---|
//! | `settings` | the environment and the options |
//! | `oss` | signed requests to OSS |
//! | `callback_server` | receives callbacks |
//! | `finding` | the result of a check |
//! | `checks` | the checks, in their order |
//! | `observations` | what OSS does where its documentation does not say |
//! | `report` | the output |
//! | `../../src/tls.rs` | the cryptography of TLS, as the library chooses it |

mod callback_server;
mod checks;
mod finding;
mod observations;
mod oss;
mod report;
mod settings;
// Checks that the processor has what the built-in cryptography needs, which panics otherwise.
#[path = "../../src/tls.rs"]
mod tls;

pub use self::{
    checks::examine,
    finding::{Finding, Outcome},
    observations::Observation,
    report::Report,
    settings::Options,
};
