//! The pool of [`pool`], over several machines: the same names, the same [`Task`](pool::Task), the same errors.
//!
//! ```no_run
//! let pool = cluster::ClusterPool::connect("nats://10.0.0.1:4222")?;
//! assert_eq!(pool.map(|n| n + 1, [1, 2, 3])?, [2, 3, 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On each machine runs this very program, as an [`Agent`]; between them is a [NATS](https://nats.io) server with JetStream,
//! which keeps what was given to it. For a first step, a server and agents on this machine, which end with the pool:
//!
//! ```no_run
//! let pool = cluster::ClusterPool::local(4)?; // nats-server on the PATH, or named by NATS_SERVER_BIN
//! assert_eq!(pool.map(|n| n + 1, [1, 2, 3])?, [2, 3, 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # An agent needs no code
//! A program that links this crate, and is started with the name of a server in its environment, never reaches its `main`: it
//! is an agent until it is terminated (SIGTERM, or SIGINT). It gives back then what no worker has begun, and ends when the rest
//! has ended.
//!
//! ```text
//! CLUSTER_AGENT=nats://10.0.0.1:4222 ./program
//! ```
//!
//! | variable | |
//! |---|---|
//! | `CLUSTER_AGENT` | the server's URL, or several ones separated by commas |
//! | `CLUSTER_POOL` | [`AgentBuilder::pool`] |
//! | `CLUSTER_SLOTS` | [`AgentBuilder::slots`] |
//! | `CLUSTER_TOKEN` | [`AgentBuilder::token`] |
//! | `CLUSTER_CA` | [`AgentBuilder::authorities`] |
//! | `CLUSTER_CERT`, `CLUSTER_KEY` | [`AgentBuilder::certificate`] |
//! | `CLUSTER_PLAIN` | if it is `1`, [`AgentBuilder::allow_plain`] |
//!
//! Processes that it starts do not see them.
//!
//! # What is promised
//! Each task has exactly one result, whatever is killed. The agent acknowledges a task to the server only after this
//! program has confirmed its result; and this program keeps a ledger of what it waits for, compares it with what the server
//! has, and gives again what was lost there. A task whose host is lost runs again elsewhere, so that tasks must bear that.
//!
//! A worker that dies of its own fault tells so here, too: [`TaskError::WorkerDied`](pool::TaskError::WorkerDied) has its crash
//! report. Functions, files and lines are looked up in this program, so that for calls of a registered function on agents of
//! another build crash reports and backtraces have offsets in that build's file instead.
//!
//! # Who may do what
//! A user that may give tasks can call the program's functions, with any arguments, on all hosts with agents. So beyond this
//! machine TLS is required, unless plain text is allowed by name, and a server should know its users: by tokens, passwords
//! (`nats://user:password@host`), or certificates. With a user for each role, this is all that they need, for a pool `P`:
//!
//! | | publishes | subscribes to |
//! |---|---|---|
//! | agent | `$JS.API.CONSUMER.MSG.NEXT.MP_P.>`, `$JS.ACK.MP_P.>`, `mp.P.r.>`, `mp.P.w.>`, `mp.P.hb.>`, `_INBOX_coordinator.>` | `_INBOX_agent.>`, `mp.P.ctl` |
//! | … for jobs | `mp.P.d.>` | |
//! | coordinator | `mp.P.t.>`, `mp.P.ctl`, `$JS.API.STREAM.*.MP_P`, `$JS.API.CONSUMER.DURABLE.CREATE.MP_P.>`, `_INBOX_agent.>` | `_INBOX_coordinator.>`, `mp.P.r.>`, `mp.P.w.>`, `mp.P.hb.>` |
//! | … for jobs | `$JS.API.STREAM.*.MR_P`, `$JS.API.DIRECT.GET.MR_P.>` | `mp.P.d.>` |
//!
//! # Other builds, and programs that end
//! A task names its function by its place in the program, so it goes to agents of the very same build and to no others. What
//! agents have [registered](AgentBuilder::register) by a name, any program can call by that [name](ClusterPool::function).
//!
//! Tasks go with the program that gave them, but for those of a [job](ClusterPool::job), whose results the server keeps until a
//! program asks for them.
//!
//! # What this is not
//! No shared data between tasks, and no transfer of files: a task reads what its host has. No tasks that know of each
//! other, as with MPI.
#![deny(unsafe_code)]

mod address;
mod agent;
mod coordinator;
mod entry;
mod handle;
mod large;
mod link;
mod local;
mod message;
mod names;

pub use crate::{
    agent::{Agent, AgentBuilder},
    coordinator::Host,
    handle::{ClusterPool, ClusterPoolBuilder, Job, RegisteredFunction},
};
