//! `imap` and `imap_unordered`: the results of a map as iterators and as streams.

use std::{
    collections::VecDeque,
    error, fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use kernel::futex::Deadline;

use super::{chunk::Chunk, cut::Cut, feed::Submit, results::Results, under_way::UnderWay};
use crate::{Task, TaskError, completed::Set};

/// No result has come in time; it may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl error::Error for TimedOut {}

macro_rules! iterators {
    ($($(#[$doc:meta])* $name:ident, $stream:ident: $under_way:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use = "nothing is read from the input before the first `next`"]
            pub struct $name<I: Iterator, R>(Results<I, R, $under_way>);

            impl<I: Iterator, R> $name<I, R> {
                pub(crate) fn new(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Self {
                    Self(Results::new(input, cut, submit))
                }

                /// So many items make one task of this map, whatever the pool's own
                /// [`chunk_size`](crate::ProcessPoolBuilder::chunk_size) is; for what is not yet read from the input.
                #[doc(alias = "chunksize")]
                pub fn chunk_size(mut self, n_items: usize) -> Self {
                    self.0.set_chunk_size(n_items);
                    self
                }

                /// As `next`, for at most `timeout`.
                ///
                /// # Errors
                /// [`TimedOut`] if there is no result by then. It is not lost.
                pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Result<R, TaskError>>, TimedOut> {
                    let deadline = Deadline::after(timeout);
                    self.0.next_if(|out| out.wait(deadline)).ok_or(TimedOut)
                }

                /// The results as a [`Stream`](futures_core::Stream), on any runtime. The input is still read by
                /// the task that polls, and must not block.
                pub fn into_stream(self) -> $stream<I, R> {
                    $stream(self)
                }
            }

            #[doc = concat!("The results of an [`", stringify!($name), "`] as a stream.")]
            #[derive(Debug)]
            #[must_use = "nothing is read from the input before the first poll"]
            pub struct $stream<I: Iterator, R>($name<I, R>);

            /// Nothing in it is pinned.
            impl<I: Iterator, R> Unpin for $stream<I, R> {}

            impl<I: Iterator, R> futures_core::Stream for $stream<I, R> {
                type Item = Result<R, TaskError>;

                fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                    let results = &mut self.get_mut().0.0;
                    results.next_if(|out| out.poll(context.waker())).map_or(Poll::Pending, Poll::Ready)
                }

                fn size_hint(&self) -> (usize, Option<usize>) {
                    self.0.size_hint()
                }
            }

            impl<I: Iterator, R> Iterator for $name<I, R> {
                type Item = Result<R, TaskError>;

                fn next(&mut self) -> Option<Self::Item> {
                    self.0.next()
                }

                fn size_hint(&self) -> (usize, Option<usize>) {
                    self.0.feed.size_hint()
                }
            }

            impl<I: Iterator, R> fmt::Debug for $name<I, R> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($name)).field("under_way", &self.0.feed.items_out).finish_non_exhaustive()
                }
            }
        )*
    };
}
iterators!(
    /// The results of `imap`, in the order of the input.
    ///
    /// The input is read only as far as the window allows; `next` blocks until the next result is there. What was given
    /// to the pool runs on when the iterator is dropped. After the pool's `close` the rest of the input is read and worked
    /// on as before it, and the pool's workers stay until then. If the input panics, `next` does so, after the results of
    /// all items before.
    Imap, ImapStream: VecDeque<(usize, Task<Chunk<R>>)>;
    /// The results of `imap_unordered`, each as soon as it is there.
    ///
    /// Otherwise as [`Imap`].
    ImapUnordered, ImapUnorderedStream: Set<Chunk<R>>;
);
