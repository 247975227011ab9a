//! Putting many values one by one.

use crate::PutError;

/// Puts each of `values`, and gives back the one that was refused and those after it.
pub(super) fn put_all<T>(
    values: impl IntoIterator<Item = T>,
    put: impl Fn(T) -> Result<(), PutError<T>>,
) -> Result<(), PutError<Vec<T>>> {
    let mut values = values.into_iter();
    while let Some(value) = values.next() {
        if let Err(e) = put(value) {
            return Err(PutError::Closed(std::iter::once(e.into_inner()).chain(values).collect()));
        }
    }
    Ok(())
}
