//! What goes wrong with external programs.

use std::{fmt, io, process::Output};

use crate::ProcessError;

/// Why a program could not be started, did not succeed, or did not answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be started.
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with another status than success.
    Failed {
        /// Its name.
        program: String,
        /// How it ended, and what it wrote.
        output: Output,
    },
    /// It did not end in time, and runs on.
    TimedOut {
        /// Its name.
        program: String,
        /// What it wrote so far.
        partial: Partial,
    },
    /// It wrote more than was allowed, and runs on.
    TooMuchOutput {
        /// Its name.
        program: String,
        /// What it wrote so far.
        partial: Partial,
    },
    /// Data could not be exchanged with it.
    Io {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Something concerning it as a process.
    Process(Box<ProcessError>),
}

/// What a program that still runs has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partial {
    /// To its standard output.
    pub stdout: Vec<u8>,
    /// To its standard error.
    pub stderr: Vec<u8>,
}

impl CommandError {
    pub(super) fn failed(program: &str, output: Output) -> Self {
        Self::Failed { program: program.to_owned(), output }
    }

    pub(super) fn timed_out(program: &str, partial: Partial) -> Self {
        Self::TimedOut { program: program.to_owned(), partial }
    }

    pub(super) fn io(program: &str, source: io::Error) -> Self {
        Self::Io { program: program.to_owned(), source }
    }
}

impl From<ProcessError> for CommandError {
    fn from(error: ProcessError) -> Self {
        Self::Process(Box::new(error))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { program, source } => write!(f, "cannot start {program}: {source}"),
            Self::Failed { program, output } => {
                write!(f, "{program}: {}", output.status)?;
                let words = String::from_utf8_lossy(&output.stderr);
                match words.trim().lines().last() {
                    Some(last) => write!(f, ": {last}"),
                    None => Ok(()),
                }
            }
            Self::TimedOut { program, .. } => write!(f, "{program} did not end in time"),
            Self::TooMuchOutput { program, .. } => write!(f, "{program} wrote more than was allowed"),
            Self::Io { program, source } => write!(f, "cannot exchange data with {program}: {source}"),
            Self::Process(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for CommandError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::Io { source, .. } => Some(source),
            Self::Process(e) => Some(&**e),
            _ => None,
        }
    }
}
