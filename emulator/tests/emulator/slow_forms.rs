//! Large forms from clients that send slowly.

use std::time::Duration;

use tokio::{sync::mpsc, time::Instant};
use tower::ServiceExt as _;

use super::support::{BUCKET, Form, Pieces, emulator, good, read, request};

/// How long a large form keeps its place if others wait.
const CERTAIN: Duration = Duration::from_secs(5);

/// Only three large forms are read at a time. Clients that stop in the middle of their fields must
/// not keep others from uploading.
#[tokio::test(start_paused = true)]
async fn slow_large_forms_do_not_keep_others_waiting() {
    let emulator = emulator();
    let value = "v".repeat(100 * 1024);
    let large = |name: &str| good(&[("key", name), ("x:a", &value)]).file(b"x").bytes();
    let mut slow = Vec::new();
    for at in 0..3 {
        let mut form = large(&format!("slow-{at}"));
        let (sender, pieces) = mpsc::channel(1);
        let request = Form::new().request().map(|_| Pieces(pieces));
        let answer = tokio::spawn(emulator.clone().oneshot(request));
        let half = form.split_to(form.len() / 2 + 30 * 1024);
        sender.send(half).await.unwrap();
        // Has room only after the first piece was taken, and is not large by itself.
        sender.send(form.split_to(10)).await.unwrap();
        slow.push((answer, sender, form));
    }
    let started = Instant::now();
    let post = async |name: &str| {
        let answer = emulator
            .clone()
            .oneshot(request(large(name)))
            .await
            .unwrap();
        read(answer).await.status
    };
    assert_eq!(post("fast").await, 204);
    assert_eq!(started.elapsed(), CERTAIN);
    // That displaced one of the slow ones, so there is a free place now.
    for name in ["second", "third"] {
        assert_eq!(post(name).await, 204);
    }
    assert_eq!(started.elapsed(), CERTAIN);

    let mut answers = Vec::new();
    for (answer, sender, rest) in slow {
        // Fails if the form was refused.
        let _ = sender.send(rest).await;
        drop(sender);
        answers.push(read(answer.await.unwrap().unwrap()).await);
    }
    answers[0].assert_refused(400, "RequestTimeout", "");
    let stored = emulator.store().list(&BUCKET.parse().unwrap()).await;
    let stored = stored.unwrap();
    let stored: Vec<_> = stored.iter().map(|object| object.key()).collect();
    assert_eq!(stored, ["fast", "second", "slow-1", "slow-2", "third"]);
}
