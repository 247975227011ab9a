//! Where a program that was started as an agent turns into one, before `main`.
//!
//! The loader calls `ENTRY` like any other constructor. Without a server's name in the environment it returns at once. As in
//! `proc-core`'s entry, the constructors that come after this one are called first, so that tasks find what they would after
//! `main` has begun.
//!
//! # Safety
//! Runs before `main` on the only thread. The standard library works there: glibc hands arguments and environment to
//! constructors, and std takes note of them in one that comes earlier (`.init_array.00099`).
#![allow(unsafe_code)]

use std::{env, ffi::c_char, io::Write as _, process::exit};

use kernel::sys::{
    constructors::{Arguments, Constructor, run_rest},
    credentials,
};
use pool::PoolError;

use crate::Agent;

const SERVER: &str = "CLUSTER_AGENT";
const POOL: &str = "CLUSTER_POOL";
const SLOTS: &str = "CLUSTER_SLOTS";
const TOKEN: &str = "CLUSTER_TOKEN";
const AUTHORITIES: &str = "CLUSTER_CA";
const CERTIFICATE: &str = "CLUSTER_CERT";
const KEY: &str = "CLUSTER_KEY";
const PLAIN: &str = "CLUSTER_PLAIN";

/// One of the constructors without a priority, which come last, in the order in which the linker met them.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTRY: Constructor = {
    extern "C" fn entry(argc: i32, argv: *const *const c_char, envp: *const *const c_char) {
        if let Some(orders) = Orders::take() {
            run_rest(&raw const ENTRY, Arguments { argc, argv, envp });
            serve(orders);
        }
    }
    entry
};

/// What the environment says.
struct Orders {
    server: String,
    pool: Option<String>,
    slots: Option<String>,
    token: Option<String>,
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    plain: Option<String>,
}

impl Orders {
    /// Takes it out of the environment, which is that of all processes started from here.
    fn take() -> Option<Self> {
        env::var_os(SERVER)?;
        if credentials::is_privileged_start() {
            // The process that started it has fewer rights than it has, and must not tell it what to do.
            return None;
        }
        let take = |name: &str| {
            let value = env::var(name).ok();
            // SAFETY: the program has one thread yet.
            unsafe { env::remove_var(name) };
            value
        };
        Some(Self {
            server: take(SERVER)?,
            pool: take(POOL),
            slots: take(SLOTS),
            token: take(TOKEN),
            authorities: take(AUTHORITIES),
            certificate: take(CERTIFICATE),
            key: take(KEY),
            plain: take(PLAIN),
        })
    }
}

/// All that this process does.
#[allow(clippy::exit, reason = "its `main` is not for this process")]
fn serve(orders: Orders) -> ! {
    let outcome = agent(orders);
    if let Err(why) = &outcome {
        // The process is an agent, and this is whom it tells.
        let _ = writeln!(std::io::stderr(), "agent: {why}");
    }
    exit(i32::from(outcome.is_err()))
}

fn agent(orders: Orders) -> Result<(), PoolError> {
    let mut agent = Agent::builder(orders.server);
    if let Some(pool) = orders.pool {
        agent = agent.pool(pool);
    }
    if let Some(slots) = orders.slots {
        let slots = slots.parse().map_err(|_| PoolError::Cluster(format!("{SLOTS} is no number: {slots:?}")))?;
        agent = agent.slots(slots);
    }
    if let Some(token) = orders.token {
        agent = agent.token(token);
    }
    if let Some(authorities) = orders.authorities {
        agent = agent.authorities(authorities);
    }
    match (orders.certificate, orders.key) {
        (Some(certificate), Some(key)) => agent = agent.certificate(certificate, key),
        (None, None) => {}
        _ => return Err(PoolError::Cluster(format!("of {CERTIFICATE} and {KEY}, there is only one"))),
    }
    agent.allow_plain(orders.plain.as_deref() == Some("1")).serve()
}
