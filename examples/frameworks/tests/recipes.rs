//! Every recipe issues tokens, passes genuine callbacks to its handler, rejects forged ones, and
//! answers a callback that has arrived when it is stopped.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/check.rs"]
mod check;
mod support;

use check::check;
use example_frameworks::{axum, hyper, poem, salvo, tonic, uploads::uploads, warp};

/// Names a test after a recipe.
macro_rules! recipe {
    ($name:ident, $recipe:ident) => {
        #[tokio::test]
        async fn $name() {
            check(|listener, uploads, stop| async move {
                $recipe::serve(listener, &uploads, async {
                    let _ = stop.await;
                })
                .await
            })
            .await;
        }
    };
}

recipe!(uploads_with_axum, axum);
recipe!(uploads_with_hyper, hyper);
recipe!(uploads_with_poem, poem);
recipe!(uploads_with_salvo, salvo);
recipe!(uploads_with_tonic, tonic);
recipe!(uploads_with_warp, warp);
