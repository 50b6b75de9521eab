//! Tickets at the level of the layer.

mod abuse;
mod confirm;
mod failures;
mod ledger;
mod once;
mod refusals;
mod sealed;
#[path = "support/tickets.rs"]
pub(crate) mod support;
mod warnings;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::{CallbackErrorKind, RequestBody, VerifiedCallback},
    key::KeySource,
    protocol::{CallbackBodyType, SystemVariable, TICKET_FIELD},
    testing::CallbackSigner,
    ticket::{
        MemoryStore, TicketError, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope},
        store::{Attempt, Begin, Lease, Nonce, ReplayStore, StoreError, StoredReply},
    },
};

use support::*;
