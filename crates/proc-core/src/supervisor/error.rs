//! Why a supervisor was not started, or has ended.

use std::fmt;

use crate::ProcessError;

/// Why a supervisor was not started, or has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum SupervisorError {
    /// There were more restarts than its intensity allows; all children have been stopped.
    TooManyRestarts {
        /// The child whose death was one too many.
        id: String,
    },
    /// A child could not be started.
    NotStarted {
        /// The child.
        id: String,
        /// Why.
        source: Box<ProcessError>,
    },
    /// There is another child of that id.
    AlreadyPresent {
        /// The id.
        id: String,
    },
    /// There is no child of that id.
    NotFound {
        /// The id.
        id: String,
    },
    /// The supervisor has ended.
    Ended,
    /// The system did not give what the supervisor itself needs.
    System(std::io::Error),
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRestarts { id } => write!(f, "too many restarts, the last one because of {id}"),
            Self::NotStarted { id, source } => write!(f, "child {id} cannot be started: {source}"),
            Self::AlreadyPresent { id } => write!(f, "there is a child {id} already"),
            Self::NotFound { id } => write!(f, "there is no child {id}"),
            Self::Ended => f.write_str("the supervisor has ended"),
            Self::System(e) => write!(f, "cannot start a supervisor: {e}"),
        }
    }
}

impl std::error::Error for SupervisorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted { source, .. } => Some(&**source),
            Self::System(e) => Some(e),
            _ => None,
        }
    }
}
