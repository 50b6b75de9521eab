//! The nodes of a cluster.

use std::sync::Arc;

use redis::{
    Value,
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
};

use super::{
    link::{connection_info, tcp_settings},
    opened::{Open, Opened},
    step::{Execute, LinkError, Step},
};
use crate::ticket::store::{StoreError, StoreErrorKind};

/// How often the client follows a slot that has moved, or waits for one that is moving.
const MOVES: u32 = 5;

/// Connects to the cluster of these nodes.
pub(super) fn open<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Result<Opened, StoreError> {
    let nodes = nodes
        .into_iter()
        .map(connection_info)
        .collect::<Result<Vec<_>, _>>()?;
    let first = nodes.first().ok_or(StoreErrorKind::Url)?;
    let tcp = tcp_settings(first.tcp_settings().clone());
    let client = ClusterClient::builder(nodes)
        .tcp_settings(tcp)
        .retries(MOVES)
        .min_retry_wait(1)
        .max_retry_wait(100)
        .build()
        .map_err(|_| StoreErrorKind::Url)?;
    let open: Open = Box::new(move |timeout| {
        let client = client.clone();
        Box::pin(async move {
            // The client waits for all of the nodes that are named here. A step must have time left
            // after one whose machine is gone.
            let config = ClusterConfig::new()
                .set_connection_timeout(timeout / 3)
                .set_response_timeout(timeout);
            let connection = client.get_async_connection_with_config(config).await?;
            Ok(execute_over(connection))
        })
    });
    Ok(Opened::new(open))
}

fn execute_over(connection: ClusterConnection) -> Execute {
    Arc::new(move |step| Box::pin(send(step, connection.clone())))
}

/// Sends a step to the node that has its key.
async fn send(step: Step, mut connection: ClusterConnection) -> Result<Value, LinkError> {
    let route = Route::with_key(step.key(), SlotAddr::Master);
    let node = SingleNodeRoutingInfo::SpecificNode(route);
    let replies = connection
        .route_pipeline(step.pipeline(), 0, step.len(), node)
        .await?;
    step.result(replies)
}
