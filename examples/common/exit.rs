//! The end of a program.

use std::{fmt::Display, process::ExitCode};

/// Prints an error as its text, and returns the exit code. Rust itself would print its `Debug`.
pub(crate) fn exit(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
