//! Feature `fetch`: keys over HTTPS, and the cache in front of them.

mod fake;
mod faults;
mod floods;
mod https;
mod layers;
mod limits;
mod rotation;
mod site;
