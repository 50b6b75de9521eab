//! The switch that stops the callback server, and the recovery when it is back.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aliyun_oss_emulator::Emulator;
use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tower_aliyun_oss::{
    Lookup,
    protocol::Bucket,
    recovery::Recovery,
    storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError, StorageErrorKind},
};

use crate::backend::Backend;

/// Whether the callback server is stopped, as the page switches it.
#[derive(Clone, Default)]
pub(crate) struct Switch(Arc<AtomicBool>);

/// Responds to callbacks as a proxy does whose server is down.
pub(crate) async fn gate(State(switch): State<Switch>, request: Request, next: Next) -> Response {
    if switch.0.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

#[derive(Deserialize, Serialize)]
struct Position {
    stopped: bool,
}

/// Returns the routes of the switch. `callbacks` is the route that takes callbacks. Without the
/// emulator there is no switch.
pub(crate) fn routes(
    backend: &Backend,
    switch: &Switch,
    callbacks: Router,
) -> Result<Router, Box<dyn Error>> {
    let Some((uploads, emulator)) = backend.recovered() else {
        return Ok(Router::new());
    };
    let recovery = Recovery::new(uploads, Objects(emulator.clone()), callbacks)?;
    let (read, set) = (switch.clone(), switch.clone());
    let read = async move || {
        let stopped = read.0.load(Ordering::SeqCst);
        Json(Position { stopped })
    };
    let set = async move |Json(position): Json<Position>| {
        set.0.store(position.stopped, Ordering::SeqCst);
        if !position.stopped {
            match recovery.tick().await {
                Ok(summary) => tracing::info!(%summary, "recovered"),
                Err(error) => tracing::warn!(%error, "failed to recover"),
            }
        }
        Json(position)
    };
    Ok(Router::new().route("/demo/callback-server", get(read).post(set)))
}

/// The objects of the emulator. An application of the real OSS uses `OssClient`.
struct Objects(Emulator);

impl ObjectStorage for Objects {
    fn head(&self, bucket: &Bucket, key: &str) -> Lookup<ObjectMetadata, StorageError> {
        let (emulator, bucket, key) = (self.0.clone(), bucket.clone(), key.to_owned());
        Lookup::pending(async move {
            let listed = emulator.store().list(&bucket).await;
            let listed = listed
                .map_err(|why| StorageError::with_source(StorageErrorKind::Unavailable, why))?;
            let found = listed.iter().find(|object| object.key() == key);
            let found = found.ok_or(StorageErrorKind::NotFound)?;
            Ok(ObjectMetadata::new(found.size())
                .with_etag(found.etag())
                .with_content_type(found.content_type())
                .with_last_modified(found.last_modified()))
        })
    }

    fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
        Lookup::Ready(Err(StorageErrorKind::Rejected.into()))
    }

    // A recovery deletes only if a hook says so.
    fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
        Lookup::Ready(Err(StorageErrorKind::Rejected.into()))
    }
}
