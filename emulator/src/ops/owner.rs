//! The owner that listings and settings show: the account of the builder.

use serde::Serialize;

use crate::context::ServiceContext;

#[derive(Clone, Copy, Serialize)]
pub(super) struct Owner<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "DisplayName")]
    display_name: &'a str,
}

impl<'a> Owner<'a> {
    pub(super) fn of(context: &ServiceContext<'a>) -> Self {
        let id = &*context.shared.caller.owner;
        Self {
            id,
            display_name: id,
        }
    }
}
