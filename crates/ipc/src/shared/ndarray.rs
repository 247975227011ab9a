//! Views of an [`Array`](crate::Array), or of its [`Rows`](crate::Rows), as matrices of the crate `ndarray`.

use ndarray::{ArrayView, ArrayView2, ArrayViewMut, ArrayViewMut2, Dimension, ShapeError, StrideShape};
use sync::{Element, Plain};

use super::{ArrayGuard, RowsGuard};

impl<T: Element<Stored = T> + Plain + Copy> ArrayGuard<'_, T> {
    /// The elements as a matrix of that shape, without a copy. Needs the feature `ndarray`.
    ///
    /// # Errors
    /// [`ShapeError`] if there are fewer elements than the shape has.
    ///
    /// # Panics
    /// If another guard of this thread has lent the elements mutably.
    ///
    /// # Examples
    /// ```
    /// let numbers = ipc::Array::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// let mut guard = numbers.lock()?;
    /// guard.view_mut((2, 3))?.row_mut(1).fill(0.5);
    /// assert_eq!(guard.view((2, 3))?.column(2).to_vec(), [3.0, 0.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn view<D: Dimension>(&self, shape: impl Into<StrideShape<D>>) -> Result<ArrayView<'_, T, D>, ShapeError> {
        ArrayView::from_shape(shape, self)
    }

    /// The elements as a matrix of that shape, to be changed in place. Needs the feature `ndarray`.
    ///
    /// # Errors
    /// [`ShapeError`] if there are fewer elements than the shape has.
    ///
    /// # Panics
    /// If another guard of this thread has lent the elements.
    #[track_caller]
    pub fn view_mut<D: Dimension>(
        &mut self,
        shape: impl Into<StrideShape<D>>,
    ) -> Result<ArrayViewMut<'_, T, D>, ShapeError> {
        ArrayViewMut::from_shape(shape, self)
    }
}

impl<T: Element<Stored = T> + Plain + Copy> RowsGuard<'_, T> {
    /// All rows as a matrix, without a copy. Needs the feature `ndarray`.
    pub fn view(&self) -> ArrayView2<'_, T> {
        ArrayView2::from_shape(self.shape(), self).expect("there are as many elements")
    }

    /// All rows as a matrix, to be changed in place. Needs the feature `ndarray`.
    pub fn view_mut(&mut self) -> ArrayViewMut2<'_, T> {
        ArrayViewMut2::from_shape(self.shape(), self).expect("there are as many elements")
    }
}
