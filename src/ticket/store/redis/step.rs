//! A script on its way to Redis, alone or with the wait for replicas.

use std::{num::NonZeroU8, pin::Pin, sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, aio::ConnectionLike};

use super::milliseconds;

/// Sends a step over a connection of any type.
pub(super) type Execute = Arc<dyn Fn(Step) -> Pending + Send + Sync>;

pub(super) type Pending = Pin<Box<dyn Future<Output = Result<Value, LinkError>> + Send>>;

/// What a link does with every step.
#[derive(Clone, Copy)]
pub(super) struct Sending {
    pub(super) timeout: Duration,
    /// How many replicas must have the effect of a step.
    pub(super) replicas: Option<NonZeroU8>,
}

/// A script, and how many replicas must have its effect.
pub(super) struct Step {
    script: Cmd,
    replicas: Option<(NonZeroU8, Cmd)>,
}

impl Step {
    pub(super) fn new(script: Cmd, sending: Sending) -> Self {
        let replicas = sending.replicas.map(|replicas| {
            // Ends before the timeout of the step, which would hide that replicas are missing, even
            // if the script must be sent twice.
            let time = sending.timeout.mul_f32(0.4);
            let mut wait = redis::cmd("WAIT");
            wait.arg(replicas.get()).arg(milliseconds(time).max(1));
            (replicas, wait)
        });
        Self { script, replicas }
    }

    /// Returns the first key, by which a cluster finds the node: all keys are in the same slot.
    #[cfg(feature = "redis-cluster")]
    pub(super) fn key(&self) -> &[u8] {
        // EVALSHA hash number-of-keys key …
        match self.script.args_iter().nth(3) {
            Some(redis::Arg::Simple(key)) => key,
            _ => &[],
        }
    }

    /// Returns the commands to send in one batch, so that no reconnection comes between them:
    /// `WAIT` knows what this connection has written.
    pub(super) fn pipeline(&self) -> Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.add_command(self.script.clone());
        if let Some((_, wait)) = &self.replicas {
            pipeline.add_command(wait.clone());
        }
        pipeline
    }

    /// Returns the number of commands in the [`pipeline`](Self::pipeline).
    pub(super) const fn len(&self) -> usize {
        match self.replicas {
            Some(_) => 2,
            None => 1,
        }
    }

    /// Reads the replies to the [`pipeline`](Self::pipeline).
    pub(super) fn result(&self, replies: Vec<Value>) -> Result<Value, LinkError> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil).extract_error();
        let reply = next()?;
        if let Some((needed, _)) = &self.replicas {
            match next()? {
                Value::Int(confirmed) if confirmed >= i64::from(needed.get()) => {}
                _ => return Err(LinkError::NotReplicated),
            }
        }
        Ok(reply)
    }

    pub(super) async fn send<C: ConnectionLike>(
        self,
        connection: &mut C,
    ) -> Result<Value, LinkError> {
        if self.replicas.is_none() {
            return Ok(self.script.query_async(connection).await?);
        }
        let pipeline = self.pipeline();
        let replies = connection
            .req_packed_commands(&pipeline, 0, self.len())
            .await?;
        self.result(replies)
    }
}

/// Why a step failed.
#[derive(Debug)]
pub(super) enum LinkError {
    Redis(RedisError),
    /// Redis executed the script, and too few replicas confirmed its effect in time.
    NotReplicated,
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl LinkError {
    fn is(&self, kind: ErrorKind) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == kind)
    }

    pub(super) fn is_unknown_script(&self) -> bool {
        self.is(ErrorKind::Server(ServerErrorKind::NoScript))
    }

    /// Whether a node answers that it is not, or no longer, the one that accepts writes.
    pub(super) fn is_of_another_node(&self) -> bool {
        self.is(ErrorKind::Server(ServerErrorKind::ReadOnly))
            || self.is(ErrorKind::Server(ServerErrorKind::MasterDown))
    }

    pub(super) fn is_io(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_io_error())
    }

    pub(super) fn is_denied(&self) -> bool {
        self.is(ErrorKind::AuthenticationFailed)
    }
}

pub(super) fn execute_over<C>(connection: C) -> Execute
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    Arc::new(move |step| {
        let mut connection = connection.clone();
        Box::pin(async move { step.send(&mut connection).await })
    })
}
