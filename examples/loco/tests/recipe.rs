//! The recipe does what those of `examples/frameworks` do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../frameworks/tests/support/check.rs"]
mod check;
#[path = "../../frameworks/tests/support/mod.rs"]
mod support;

use example_loco::uploads::uploads;

#[tokio::test]
async fn uploads_with_loco() {
    check::check(|listener, uploads, stop| async move {
        example_loco::serve(listener, &uploads, async {
            let _ = stop.await;
        })
        .await
    })
    .await;
}
