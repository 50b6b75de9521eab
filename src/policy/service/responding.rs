//! From the head of a request to its response, for the futures of the services that issue tokens
//! and sign URLs: reads the body, then waits for the answer.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{body::ReadBody, error::TokenError};

/// A request without its body. `R` is the response, with what its future records about it.
pub(in crate::policy) trait Respond<R>: Sized {
    /// Answers the request, or rejects it with the error.
    fn respond(self, body: Result<Bytes, TokenError>) -> Answer<R>;
}

/// The answer to a request whose body is read.
pub(in crate::policy) enum Answer<R> {
    Now(R),
    Later(Pin<Box<dyn Future<Output = R> + Send>>),
}

pin_project! {
    #[project = RespondingProject]
    pub(in crate::policy) enum Responding<E, R, B> {
        Reading {
            #[pin]
            body: ReadBody<B>,
            exchange: Option<E>,
        },
        Answering { future: Pin<Box<dyn Future<Output = R> + Send>> },
        Ready { response: Option<R> },
    }
}

impl<E: Respond<R>, R, B> Responding<E, R, B> {
    /// Reads this body first, unless it is rejected already.
    pub(in crate::policy) fn reading(body: Result<ReadBody<B>, TokenError>, exchange: E) -> Self {
        match body {
            Ok(body) => Self::Reading {
                body,
                exchange: Some(exchange),
            },
            Err(error) => Self::answering(exchange.respond(Err(error))),
        }
    }

    pub(in crate::policy) fn answering(answer: Answer<R>) -> Self {
        match answer {
            Answer::Now(response) => Self::Ready {
                response: Some(response),
            },
            Answer::Later(future) => Self::Answering { future },
        }
    }
}

impl<E, R, B> Future for Responding<E, R, B>
where
    E: Respond<R>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        loop {
            let next = match self.as_mut().project() {
                RespondingProject::Reading { body, exchange } => {
                    let body = ready!(body.poll(cx));
                    #[expect(clippy::expect_used, reason = "taking it leaves this state")]
                    let exchange = exchange.take().expect("polled after completion");
                    Self::answering(exchange.respond(body))
                }
                RespondingProject::Answering { future } => return future.as_mut().poll(cx),
                RespondingProject::Ready { response } => {
                    #[expect(clippy::expect_used, reason = "the contract of `Future::poll`")]
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(response);
                }
            };
            self.set(next);
        }
    }
}
