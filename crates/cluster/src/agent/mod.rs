//! The side that runs tasks: one agent a host owns the connection, and feeds a local pool of processes.

mod ack;
mod alive;
mod builder;
mod doubts;
mod held;
mod puller;
mod recalled;
mod run;
mod serve;
mod signs;
mod start;
mod tasks;
mod verdicts;
mod worker;

pub use builder::{Agent, AgentBuilder};
