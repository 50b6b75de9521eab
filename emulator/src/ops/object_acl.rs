//! `PutObjectACL` and `GetObjectACL`, which only the owner may call.
//!
//! Sources: [PutObjectACL], [GetObjectACL].
//!
//! [PutObjectACL]: https://www.alibabacloud.com/help/en/oss/developer-reference/putobjectacl
//! [GetObjectACL]: https://www.alibabacloud.com/help/en/oss/developer-reference/getobjectacl

use http::{Response, StatusCode};
use serde::Serialize;

use crate::{
    body::EmulatorBody,
    context::{RequestContext, store_refusal},
    errors::{self, OssError},
    object::ObjectAcl,
    response, xml,
};

/// Sets the ACL of an object. That of a symbolic link is its own.
pub(super) async fn put(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let acl = context.header("x-oss-object-acl").unwrap_or_default();
    if acl.is_empty() {
        return Err(errors::NO_OBJECT_ACL.argument("x-oss-object-acl", ""));
    }
    let acl = ObjectAcl::parse(acl)?;
    let store = &context.shared.store;
    let updated = store.update(&context.bucket.name, key, move |record| {
        record.description.set_acl(acl);
    });
    let updated = updated.await;
    match updated.map_err(|error| store_refusal(&error.into()))? {
        Some(_) => Ok(response::empty(StatusCode::OK)),
        None => Err(errors::NO_SUCH_KEY.argument("Key", key)),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccessControlPolicy<'a> {
    owner: Owner<'a>,
    access_control_list: Grants<'a>,
}

#[derive(Serialize)]
struct Owner<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "DisplayName")]
    display_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Grants<'a> {
    grant: &'a str,
}

/// Returns the ACL of an object: `default` if it has none.
pub(super) async fn get(context: &RequestContext<'_>) -> Result<Response<EmulatorBody>, OssError> {
    let key = context.address.key()?;
    let found = context.shared.store.get(&context.bucket.name, key).await;
    let found = found.map_err(|error| store_refusal(&error.into()))?;
    let (record, _) = found.ok_or_else(|| errors::NO_SUCH_KEY.argument("Key", key))?;
    let owner = &*context.shared.caller.owner;
    let policy = AccessControlPolicy {
        owner: Owner {
            id: owner,
            display_name: owner,
        },
        access_control_list: Grants {
            grant: record.description.acl(),
        },
    };
    xml::response("AccessControlPolicy", &policy)
}
