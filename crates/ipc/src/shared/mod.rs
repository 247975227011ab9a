//! Values and arrays that processes share, with a lock or without one.

mod array;
mod deadlines;
mod loans;
#[cfg(feature = "ndarray")]
mod ndarray;
mod raw;
mod rows;
mod value;

pub use self::array::{Array, ArrayGuard};
pub use self::raw::{Lockless, RawArray, RawValue};
pub use self::rows::{Row, RowGuard, Rows, RowsGuard};
pub use self::value::{Value, ValueGuard};
