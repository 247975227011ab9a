//! The error of a function that runs in a worker.

use std::{error::Error as StdError, fmt, iter};

use serde::{Deserialize, Serialize};

/// An error of whatever type, told in text with all its causes, so that it can travel: what a task's function returns.
///
/// `?` makes one of each type of error, of `Box<dyn std::error::Error>`, of text, and of the errors of `anyhow` and its
/// like; any other, such as a `Box<dyn std::error::Error + Send + Sync>`, is told by [`Error::of`].
///
/// It is no `std::error::Error` itself, or `?` could not make it of every one; [`into_std`](Self::into_std) makes one of it.
///
/// # Examples
/// ```
/// use pool::{Error, ProcessPool};
///
/// fn parse(text: String) -> Result<u8, Error> {
///     if text.is_empty() {
///         Err("nothing to parse")?;
///     }
///     Ok(text.parse()?)
/// }
///
/// let pool = ProcessPool::new(1)?;
/// assert_eq!(pool.apply(parse, ("7".into(),))?, Ok(7));
/// let error = pool.apply(parse, ("700".into(),))?.unwrap_err();
/// assert_eq!(error.to_string(), "number too large to fit in target type");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Error(Told);

/// A message and what caused it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
struct Told {
    message: String,
    cause: Option<Box<Told>>,
}

/// Longer chains of causes are cut: one that an error makes up as it is asked has no end.
const MAX_CAUSES: usize = 64;

impl Error {
    /// Tells of `error` and its causes.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let chain = iter::successors(Some(error), |&error| error.source());
        Self(chain.take(MAX_CAUSES).map(ToString::to_string).collect::<Vec<_>>().into())
    }

    /// The message, and those of its causes, the root cause last.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        self.0.chain()
    }

    /// One for functions that return `std`'s errors, `Box<dyn std::error::Error>` or `anyhow`'s. Its `source()` is the
    /// next cause.
    pub fn into_std(self) -> impl StdError + Send + Sync + 'static {
        self.0
    }
}

impl<E: Into<Box<dyn StdError>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::of(&*error.into())
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        Box::new(error.0)
    }
}

/// Also of what a worker made up.
impl From<Vec<String>> for Told {
    fn from(chain: Vec<String>) -> Self {
        let causes = chain.into_iter().take(MAX_CAUSES).rev();
        let told = causes.fold(None, |cause, message| Some(Box::new(Self { message, cause })));
        told.map_or_else(|| Self { message: String::new(), cause: None }, |told| *told)
    }
}

impl From<Told> for Vec<String> {
    fn from(told: Told) -> Self {
        told.chain().map(str::to_owned).collect()
    }
}

impl Told {
    fn chain(&self) -> impl Iterator<Item = &str> {
        iter::successors(Some(self), |told| told.cause.as_deref()).map(|told| told.message.as_str())
    }
}

/// The message; with `{:#}` its causes, too, in one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let n_causes = if f.alternate() { MAX_CAUSES } else { 0 };
        let mut causes = self.chain().skip(1).take(n_causes);
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// The message and its causes, each in a line of its own: `main` prints it so.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut causes = self.chain().skip(1);
        causes.try_for_each(|cause| write!(f, "\ncaused by: {cause}"))
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
