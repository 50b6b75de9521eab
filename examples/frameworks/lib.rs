//! The same uploads in every tower server.
//!
//! | file | content |
//! |---|---|
//! | `uploads.rs` | what does not depend on the framework |
//! | `axum.rs`, `hyper.rs`, `poem.rs`, `salvo.rs`, `tonic.rs`, `warp.rs` | one recipe each |
//! | `main.rs` | runs a recipe |
//! | `../loco` | the recipe for Loco, a package of its own |

pub mod axum;
pub mod hyper;
pub mod poem;
pub mod salvo;
#[path = "../common/serve.rs"]
mod serve;
pub mod tonic;
pub mod uploads;
pub mod warp;
