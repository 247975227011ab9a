//! When the tasks of a worker begin and end, for a trace: the worker notes the times, its owner makes slices of them.
//!
//! Both have two words for each slot of the lane. The worker writes the first when it has claimed the slot's task, the
//! second when that has ended. The owner reads them when it takes the result, or when the worker has died, and sets them to
//! 0 before the slot is given again. The lane's word of the slot orders all of that. What is read is a number for people: an
//! absurd one makes an absurd slice.
//!
//! Without the feature `trace` it does nothing.

#[cfg(not(feature = "trace"))]
mod none;
#[cfg(feature = "trace")]
mod traced;

#[cfg(not(feature = "trace"))]
pub(super) use self::none::{Row, Stamps};
#[cfg(feature = "trace")]
pub(super) use self::traced::{Row, Stamps};
