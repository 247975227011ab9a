//! Supervisors, after Erlang's: processes that are started in order, restarted when they die, and stopped in reverse.
//!
//! ```
//! use proc_core::supervisor::{ChildSpec, Event, Restart, Strategy, Supervisor};
//! use std::{process::ExitCode, time::Duration};
//!
//! fn flaky() -> u8 {
//!     std::process::exit(1)
//! }
//!
//! let supervisor = Supervisor::builder()
//!     .strategy(Strategy::OneForOne)
//!     .intensity(2, Duration::from_secs(60))
//!     .child(ChildSpec::new("flaky", flaky, ()).restart(Restart::Transient))
//!     .start()?;
//! // Started, and restarted twice; with the third failure the supervisor gives up.
//! assert!(supervisor.wait().is_err());
//! # Ok::<(), proc_core::supervisor::SupervisorError>(())
//! ```

mod builder;
mod error;
mod run;
mod shared;
mod spec;
#[cfg(test)]
mod tests;

use std::{sync::Arc, sync::mpsc::Receiver};

use self::shared::{Command, Shared};
pub use self::{
    builder::SupervisorBuilder,
    error::SupervisorError,
    spec::{ChildInfo, ChildSpec, Event, Restart, Shutdown, Strategy},
};

/// Watches over its children. When it is dropped they are stopped, in the background.
///
/// # Crash safety
/// A child that is killed, on whatever line, is treated as its [`Restart`] says. If this process is killed, the children
/// die with it, and are not restarted. At its orderly exit they are stopped in reverse order of their start.
#[derive(Debug)]
#[must_use = "a dropped supervisor stops its children"]
pub struct Supervisor {
    shared: Arc<Shared>,
    events: Receiver<Event>,
}

impl Supervisor {
    /// Its children, in the order of their start.
    ///
    /// # Errors
    /// [`SupervisorError::Ended`].
    pub fn which_children(&self) -> Result<Vec<ChildInfo>, SupervisorError> {
        self.shared.ask(Command::Which)
    }

    /// Adds a child and starts it.
    ///
    /// # Errors
    /// If it cannot be started, or its id is taken; [`SupervisorError::Ended`].
    pub fn start_child(&self, spec: ChildSpec) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Start(spec, reply))?
    }

    /// Stops a child, as its [`Shutdown`] says, and leaves it so until [`restart_child`](Self::restart_child). Returns
    /// when it has ended.
    ///
    /// # Errors
    /// If there is no child of that id; [`SupervisorError::Ended`].
    pub fn terminate_child(&self, id: impl Into<String>) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Terminate(id.into(), reply))?
    }

    /// Starts a child that does not run. Does nothing if it does.
    ///
    /// # Errors
    /// If it cannot be started, or there is no child of that id; [`SupervisorError::Ended`].
    pub fn restart_child(&self, id: impl Into<String>) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Restart(id.into(), reply))?
    }

    /// Stops a child, as its [`Shutdown`] says, and forgets it: its id is free. Returns when it has ended.
    ///
    /// # Errors
    /// If there is no child of that id; [`SupervisorError::Ended`].
    pub fn delete_child(&self, id: impl Into<String>) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Delete(id.into(), reply))?
    }

    /// Stops the child that has the id of `spec`, as its own [`Shutdown`] says, and starts this one in its place.
    ///
    /// # Errors
    /// If there is no child of that id; if the new one cannot be started, and then the old one is there as after
    /// [`terminate_child`](Self::terminate_child); [`SupervisorError::Ended`].
    pub fn replace_child(&self, spec: ChildSpec) -> Result<(), SupervisorError> {
        self.shared.ask(|reply| Command::Replace(spec, reply))?
    }

    /// What has happened to the children, in order, from their first start on. Up to 1,024 events are kept.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Stops all children, the last one first, each as its [`Shutdown`] says. Returns when all have ended.
    ///
    /// # Errors
    /// [`SupervisorError::TooManyRestarts`] if it had given up before.
    pub fn stop(self) -> Result<(), SupervisorError> {
        self.shared.stop();
        self.wait()
    }

    /// Waits until the supervisor has ended: because there were too many restarts, or because nothing is left to watch
    /// over, which happens if no child is permanent.
    ///
    /// # Errors
    /// [`SupervisorError::TooManyRestarts`].
    pub fn wait(&self) -> Result<(), SupervisorError> {
        self.shared.wait()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
