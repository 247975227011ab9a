//! The variable by which a copy of this program knows that it is one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Names the role, the socket, and a link to the owner's life: `server:FD,FD` or `child:FD,FD`; with `:vouch` where the owner expects to be asked.
pub(crate) const MARKER: &str = "PROC_CORE_ENTRY";
/// Ends the marker of a copy that is to make sure of its owner.
pub(crate) const VOUCH: &str = ":vouch";

/// Whether this process is a copy whose constructors still run.
pub(crate) static IS_BEFORE_MAIN: AtomicBool = AtomicBool::new(false);

/// Whether this is a copy that was to serve its parent, and has not got to it: its constructors run, or nobody calls
/// [`init`](crate::init). If it could start a process, so could that one, without an end.
pub(crate) fn is_pending() -> bool {
    IS_BEFORE_MAIN.load(Relaxed) || std::env::var_os(MARKER).is_some()
}
