//! What a client with a lawful handle can try.

use tower_aliyun_oss::{policy::Grant, protocol::SizeRange};

use super::support::{App, MIB};

/// Completes one granted upload a hundred times, at once. OSS completes each of the hundred
/// uploads that the client started; all of them carry one ticket.
#[tokio::test]
async fn ps_03_a_hundred_completions_are_one_run() {
    let size = SizeRange::new(1, 100 * MIB).unwrap();
    let grant = Grant::exact("user/7/a.bin".parse().unwrap(), size)
        .allow_overwrite()
        .claims(&7);
    let app = App::start(grant).await;
    let created = app.create("a.bin", 5, "").await;
    let mut requests = Vec::new();
    for _ in 0..100 {
        let id = app.initiate(&created).await;
        let document = app.upload_parts(&created, &id, &[1]).await;
        requests.push((app.step("complete", &created, &id).await, document));
    }
    let replies = requests
        .iter()
        .map(|(request, document)| app.send(request, document.clone()));
    let mut statuses = std::collections::BTreeMap::new();
    for reply in futures(replies).await {
        *statuses.entry(reply).or_insert(0) += 1;
    }
    // OSS reports 203 for a callback that the layer refused.
    assert_eq!(statuses, [(200, 1), (203, 99)].into(), "{statuses:?}");
    assert_eq!(app.runs(), 1);
}

async fn futures(
    replies: impl Iterator<Item = impl Future<Output = super::support::Reply>>,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    for reply in replies {
        statuses.push(reply.await.status.as_u16());
    }
    statuses
}
