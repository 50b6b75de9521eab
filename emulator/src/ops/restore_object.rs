//! `RestoreObject` and `CleanRestoredObject`: objects of the archive storage classes.
//!
//! Sources: [RestoreObject], [CleanRestoredObject], the pages of their EC, and the tests of the
//! SDKs.
//!
//! [RestoreObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/restoreobject
//! [CleanRestoredObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/cleanrestoredobject

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;

use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::Record,
    response,
    restoration::{Archive, Phase, Priority, Restoration},
    xml,
};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestoreRequest {
    days: Option<String>,
    job_parameters: Option<JobParameters>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct JobParameters {
    tier: Option<String>,
}

impl RestoreRequest {
    fn days(&self, class: Archive) -> Result<u32, OssError> {
        let Some(days) = self.days.as_deref() else {
            return Ok(1);
        };
        let parsed = days.parse().ok();
        let parsed = parsed.filter(|days| (1..=class.max_days()).contains(days));
        parsed.ok_or_else(|| match class {
            Archive::Plain => errors::RESTORE_DAYS.argument("Days", days),
            Archive::Cold => errors::RESTORE_DAYS_COLD.argument("Days", days),
        })
    }

    fn priority(&self, class: Archive) -> Result<Priority, OssError> {
        match (class, &self.job_parameters) {
            (_, None) => Ok(Priority::Standard),
            (Archive::Plain, Some(_)) => Err(errors::MALFORMED_XML),
            (Archive::Cold, Some(JobParameters { tier: None })) => Ok(Priority::Standard),
            (Archive::Cold, Some(JobParameters { tier: Some(tier) })) => {
                Priority::from_name(tier).ok_or_else(|| errors::RESTORE_TIER.argument("Tier", tier))
            }
        }
    }
}

/// `RestoreObject`: begins a restoration, or extends one that has ended.
pub(super) async fn restore(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    let document = context
        .read_document(MAX_DOCUMENT, errors::MALFORMED_XML)
        .await?;
    let class = class(context).await?;
    let request = match document.is_empty() {
        true => RestoreRequest::default(),
        false => xml::parse(&document)?,
    };
    let (days, priority) = (request.days(class)?, request.priority(class)?);
    let now = context.now;
    let status = update(context, move |record| {
        let phase = record.restoration.as_mut().and_then(|restoration| {
            let phase = restoration.phase(now)?;
            Some((phase, restoration))
        });
        match phase {
            None => {
                record.restoration = Some(Restoration::begin(now, days, priority));
                Ok(StatusCode::ACCEPTED)
            }
            Some((Phase::Restored, restoration)) => {
                restoration.extend(days, class);
                Ok(StatusCode::OK)
            }
            Some((Phase::Ongoing(current), restoration)) if current < priority => {
                restoration.raise(priority);
                Ok(StatusCode::ACCEPTED)
            }
            // The code of the second error is not documented.
            Some((Phase::Ongoing(current), _)) if current == priority => Err(errors::RESTORING),
            Some((Phase::Ongoing(_), _)) => Err(errors::RESTORE_PRIORITY),
        }
    })
    .await?;
    let mut response = response::empty(status);
    if class == Archive::Cold {
        let priority = HeaderValue::from_static(priority.as_str());
        let headers = response.headers_mut();
        headers.insert("x-oss-object-restore-priority", priority);
    }
    Ok(response)
}

/// `CleanRestoredObject`: ends the time in which the object is restored.
pub(super) async fn clean(
    context: &RequestContext<'_>,
) -> Result<Response<EmulatorBody>, OssError> {
    if class(context).await? != Archive::Cold {
        return Err(errors::RESTORE_CLASS);
    }
    let now = context.now;
    let status = update(context, move |record| {
        let restoration = record.restoration.as_ref();
        match restoration.and_then(|restoration| restoration.phase(now)) {
            None => Err(errors::RESTORE_STALE),
            Some(Phase::Ongoing(_)) => Err(errors::RESTORE_NOT_FINISHED),
            Some(Phase::Restored) => {
                record.restoration = None;
                Ok(StatusCode::OK)
            }
        }
    })
    .await?;
    Ok(response::empty(status))
}

/// Returns the storage class of the object, which must be one of the archive classes.
async fn class(context: &RequestContext<'_>) -> Result<Archive, OssError> {
    let key = context.address.key()?;
    let found = context.shared.store.get(&context.bucket.name, key).await;
    let found = found.map_err(|error| store_refusal(&error.into()))?;
    let (record, _) = found.ok_or_else(|| errors::NO_SUCH_KEY.argument("Key", key))?;
    Archive::of(record.description.storage_class()).ok_or_else(|| {
        errors::RESTORE_CLASS.detail(
            "Detail",
            "RestoreObject operation does not support this object storage class",
        )
    })
}

/// Changes the object, unless `change` fails.
async fn update(
    context: &RequestContext<'_>,
    change: impl FnOnce(&mut Record) -> Result<StatusCode, OssError> + Send + 'static,
) -> Result<StatusCode, OssError> {
    let (store, key) = (&context.shared.store, context.address.key()?);
    let result = Arc::new(OnceLock::new());
    let changed = result.clone();
    let updated = store
        .update(&context.bucket.name, key, move |record| {
            // Not set before: the store runs this once.
            let _ = changed.set(change(record));
        })
        .await;
    match updated.map_err(|error| store_refusal(&error.into()))? {
        Some(_) => result.get().cloned().unwrap_or(Err(errors::INTERNAL)),
        // Deleted meanwhile.
        None => Err(errors::NO_SUCH_KEY.argument("Key", key)),
    }
}
