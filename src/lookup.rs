//! Result of a provider that usually has the value in memory.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

/// The result of a key source, a credentials provider or a store: available now, or later.
///
/// Return [`Ready`](Self::Ready) when the value is in memory. Callers then allocate nothing and
/// never wait.
///
/// ```
/// use tower_aliyun_oss::Lookup;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), String> {
/// let ready: Lookup<u8, String> = Lookup::Ready(Ok(1));
/// let pending: Lookup<u8, String> = Lookup::pending(async { Ok(2) });
/// assert_eq!(ready.await? + pending.await?, 3);
/// # Ok(())
/// # }
/// ```
#[allow(
    clippy::exhaustive_enums,
    reason = "a result is available or it has to be awaited"
)]
pub enum Lookup<T, E> {
    /// The result is available.
    Ready(Result<T, E>),
    /// The result has to be awaited. Dropping the future cancels the wait.
    Pending(Pin<Box<dyn Future<Output = Result<T, E>> + Send>>),
}

impl<T, E> Lookup<T, E> {
    /// Creates a pending lookup from a future that resolves to the result.
    pub fn pending(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }
}

impl<T, E> IntoFuture for Lookup<T, E> {
    type Output = Result<T, E>;
    type IntoFuture = LookupFuture<T, E>;

    fn into_future(self) -> LookupFuture<T, E> {
        LookupFuture(Some(self))
    }
}

impl<T: fmt::Debug, E: fmt::Debug> fmt::Debug for Lookup<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// Future returned by awaiting a [`Lookup`].
#[doc(hidden)] // Its documentation is that of `Lookup`.
#[must_use = "futures do nothing unless polled"]
pub struct LookupFuture<T, E>(Option<Lookup<T, E>>);

// The result is moved out and never pinned.
impl<T, E> Unpin for LookupFuture<T, E> {}

impl<T, E> Future for LookupFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Lookup::Pending(future)) = &mut self.0 {
            return future.as_mut().poll(cx);
        }
        match self.0.take() {
            Some(Lookup::Ready(result)) => Poll::Ready(result),
            #[expect(
                clippy::panic,
                reason = "polling a finished future is a bug in the caller"
            )]
            _ => panic!("LookupFuture polled after completion"),
        }
    }
}

impl<T, E> fmt::Debug for LookupFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupFuture").finish_non_exhaustive()
    }
}
