//! The ledger in memory.

#[path = "../support/ledger.rs"]
mod support;

use proptest::prelude::*;
use support::*;
use tower_aliyun_oss::ticket::MemoryStore;

#[tokio::test]
async fn lg_01_the_ledger_in_memory_conforms() {
    conforms(async |rows| MemoryStore::new().ledger_capacity(rows)).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn lg_02_the_ledger_in_memory_behaves_like_lists(steps in steps()) {
        let ledger = MemoryStore::new();
        tokio_test::block_on(behaves_like_lists(&ledger, &steps));
    }
}
