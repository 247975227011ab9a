//! The side that gives tasks: a ledger of them, and one thread that talks to the server.

mod ledger;
mod members;
mod run;
mod shared;
mod watch;

pub(crate) use self::{
    ledger::Finish,
    run::{Start, start},
    shared::{Shared, Wake},
};
pub use members::Host;
