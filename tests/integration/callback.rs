//! Callbacks: the verifier, the layer around real services, and the events that handlers read.

mod allocations;
#[cfg(feature = "axum")]
mod axum;
mod catalogue;
mod compose;
mod diagnose;
mod event;
mod hyper;
mod readiness;
#[cfg(feature = "axum")]
mod routers;
#[cfg(feature = "testing")]
mod signer;
mod warnings;
