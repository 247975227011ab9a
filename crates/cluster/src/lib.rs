//! The pool of [`pool`], over several machines: the same names, the same [`Task`](pool::Task), the same errors.
//!
//! ```no_run
//! let pool = cluster::ClusterPool::connect("nats://10.0.0.1:4222")?;
//! assert_eq!(pool.map(|n| n + 1, [1, 2, 3])?, [2, 3, 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On each machine runs this very program, as an [`Agent`]; between them is a [NATS](https://nats.io) server with JetStream,
//! which keeps what was given to it. [`ClusterPool::local`] starts a server and agents on this machine, and ends them with
//! the pool.
//!
//! # What is promised
//! Each task has exactly one result, whatever is killed. The agent acknowledges a task to the server only after this
//! program has confirmed its result; and this program keeps a ledger of what it waits for, compares it with what the server
//! has, and gives again what was lost there. A task whose host is lost runs again elsewhere, so that tasks must bear that.
//!
//! # What this is not
//! No shared data between tasks, and no transfer of files: a task reads what its host has. No tasks that know of each
//! other, as with MPI. No tasks that outlive the program that gave them. Functions of another build of the program are not
//! called: all hosts have the same one.
#![forbid(unsafe_code)]

mod agent;
mod coordinator;
mod handle;
mod link;
mod local;
mod message;
mod names;

pub use crate::{
    agent::{Agent, AgentBuilder},
    coordinator::Host,
    handle::{ClusterPool, ClusterPoolBuilder},
};
