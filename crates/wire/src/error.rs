//! Why a value cannot be written or read.

use std::fmt;

use crate::{sink::Full, stack::Exhausted};

/// Why a value cannot be written or read. Displays as a sentence that has the words of the type's own `Serialize` or
/// `Deserialize`, and the place in the value.
pub struct Error(Repr);

enum Repr {
    Full,
    NeedsNames,
    Other(Box<Detail>),
}

struct Detail {
    kind: ErrorKind,
    message: String,
    /// Where in the value: from the outside to the inside, e.g. `.jobs[3].name`.
    path: String,
}

/// What kind of [`Error`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The sink has no room for more.
    Full,
    /// The compact form cannot carry this value.
    NeedsNames,
    /// The value is nested deeper than the thread's stack has room for.
    TooDeep,
    /// The bytes are not those of such a value.
    Malformed,
    /// The value would arrive as another one.
    Changed,
    /// The type's own `Serialize` or `Deserialize` reports it.
    Custom,
}

/// What goes wrong on the way, whether or not it is told in full.
pub(crate) trait Trouble: serde::ser::Error + From<Full> {
    /// The compact form cannot carry this value.
    fn needs_names() -> Self;
    /// A part could not be written, and the `Serialize` of the whole went on as if it had been.
    fn ignored() -> Self;
    fn too_deep() -> Self;
    /// Notes that it happened in a field.
    #[must_use]
    fn in_field(self, name: &str) -> Self;
    /// Notes that it happened in an element.
    #[must_use]
    fn in_element(self, index: usize) -> Self;
}

impl Error {
    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Repr::Other(Box::new(Detail { kind, message: message.into(), path: String::new() })))
    }

    #[cold]
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    fn prepend(&mut self, segment: impl FnOnce() -> String) {
        if let Repr::Other(detail) = &mut self.0
            && detail.path.len() < MAX_PATH
        {
            detail.path.insert_str(0, &segment());
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Repr::Full => ErrorKind::Full,
            Repr::NeedsNames => ErrorKind::NeedsNames,
            Repr::Other(detail) => detail.kind,
        }
    }
}

/// Longer paths lack their outer part.
const MAX_PATH: usize = 200;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Full => Full.fmt(f),
            Repr::NeedsNames => f.write_str("the compact form cannot carry this value"),
            Repr::Other(detail) if detail.path.is_empty() => f.write_str(&detail.message),
            Repr::Other(detail) => write!(f, "{}, at `{}`", detail.message, detail.path.trim_start_matches('.')),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind()).field("message", &self.to_string()).finish()
    }
}

impl std::error::Error for Error {}

impl From<Full> for Error {
    fn from(_: Full) -> Self {
        Self(Repr::Full)
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Custom, message.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Custom, message.to_string())
    }
}

impl Trouble for Error {
    fn needs_names() -> Self {
        Self(Repr::NeedsNames)
    }

    #[cold]
    fn ignored() -> Self {
        let why = "a part of it could not be written, and its `Serialize` has not passed the error on";
        Self::new(ErrorKind::Custom, why)
    }

    #[cold]
    fn too_deep() -> Self {
        Self::new(ErrorKind::TooDeep, Exhausted.to_string())
    }

    #[cold]
    fn in_field(mut self, name: &str) -> Self {
        self.prepend(|| format!(".{name}"));
        self
    }

    #[cold]
    fn in_element(mut self, index: usize) -> Self {
        self.prepend(|| format!("[{index}]"));
        self
    }
}

/// Why a value is not written in the compact form at once. Nothing more is said: who wants to know writes it with care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The sink has no room for it.
    Full,
    /// It cannot go straight into a sink: use [`encode`](crate::encode), which may say why.
    Indirect,
}

impl Trouble for Stop {
    #[inline]
    fn needs_names() -> Self {
        Self::Indirect
    }

    #[inline]
    fn ignored() -> Self {
        Self::Indirect
    }

    #[inline]
    fn too_deep() -> Self {
        Self::Indirect
    }

    #[inline]
    fn in_field(self, _name: &str) -> Self {
        self
    }

    #[inline]
    fn in_element(self, _index: usize) -> Self {
        self
    }
}

impl From<Full> for Stop {
    #[inline]
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl serde::ser::Error for Stop {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self::Indirect
    }
}

impl std::error::Error for Stop {}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => Full.fmt(f),
            Self::Indirect => f.write_str("the value cannot be written at once"),
        }
    }
}
