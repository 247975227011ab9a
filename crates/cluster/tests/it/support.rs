//! A pool for a test, where there is a server's program.

use std::time::Duration;

use cluster::{ClusterPool, ClusterPoolBuilder};
use pool::PoolError;
use test_support::{Watchdog, watchdog};

/// A pool of `n_agents` on this machine, and the watchdog of the test; `None`, with a word on standard error, where there is
/// no server's program.
pub(crate) fn local(settings: ClusterPoolBuilder, n_agents: usize) -> Option<(Watchdog, ClusterPool)> {
    let dog = watchdog(Duration::from_secs(120));
    match settings.local(n_agents) {
        Ok(pool) => Some((dog, pool)),
        Err(PoolError::Cluster(why)) if why.starts_with("no nats-server") => {
            no_server(&why);
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// Says that a test is skipped; where a server is promised, that is a failure.
pub(crate) fn no_server(why: &str) {
    assert!(std::env::var_os("CLUSTER_TESTS").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
}
