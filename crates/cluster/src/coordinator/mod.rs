//! The side that gives tasks: a ledger of them, and one thread that talks to the server.

mod audit;
mod job_loop;
mod jobs;
mod kept;
mod ledger;
mod look;
mod members;
mod publish;
mod queue;
mod recalls;
mod run;
mod shared;
mod span;
mod start;
mod verdicts;
mod watch;

pub(crate) use self::{
    kept::Begun,
    ledger::Finish,
    queue::Queue,
    run::CoordinatorConfig,
    shared::{InJob, Shared, Wake},
    start::start,
};
pub use members::Host;
