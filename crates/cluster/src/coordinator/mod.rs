//! The side that gives tasks: a ledger of them, and one thread that talks to the server.

mod jobs;
mod kept;
mod ledger;
mod members;
mod queue;
mod run;
mod shared;
mod watch;

pub(crate) use self::{
    kept::Begun,
    ledger::Finish,
    queue::Queue,
    run::{Start, start},
    shared::{InJob, Shared, Wake},
};
pub use members::Host;
