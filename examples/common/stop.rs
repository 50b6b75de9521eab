//! The signals that stop a server.

use std::{future::Future, io};

use tokio::signal;

/// Completes on Ctrl-C and, on Unix, on SIGTERM, which service managers and container runtimes
/// send.
///
/// OSS does not repeat a callback, so a server must answer those that have arrived before it exits.
///
/// # Errors
///
/// Fails if a signal handler cannot be installed. The handlers are installed when this function
/// returns, not when the future is first polled.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(windows)]
    {
        let mut interrupt = signal::windows::ctrl_c()?;
        Ok(async move {
            interrupt.recv().await;
        })
    }
}
