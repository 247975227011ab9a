//! The side that runs tasks: one agent a host owns the connection, and feeds a local pool of processes.

mod ack;
mod builder;
mod held;
mod puller;
mod run;
mod recalled;
mod serve;
mod signs;
mod start;
mod tasks;
mod verdicts;
mod worker;

pub use builder::{Agent, AgentBuilder};
