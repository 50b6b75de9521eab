//! `Debug` of the errors that a server meets when it starts.

use std::{error::Error, fmt};

/// Writes an error and its causes in one line.
pub(crate) fn write(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// Implements `Debug` as the text of the error and of its causes: if `main` returns an error, Rust
/// prints its `Debug`, and only the text names the remedy.
macro_rules! debug_is_text {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            /// Writes the text of the error and of its causes, because this is what a program
            /// prints whose `main` returns the error.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::causes::write(self, f)
            }
        }
    };
}

pub(crate) use debug_is_text;
