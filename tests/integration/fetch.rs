//! Feature `fetch`: keys over HTTPS, and the cache in front of them.

pub(crate) mod fake;
mod faults;
mod floods;
mod https;
mod layers;
mod limits;
mod promises;
mod rotation;
mod site;
