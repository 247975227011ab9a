//! Handles may be used inside `catch_unwind`, as those of std's and crossbeam's channels: each operation happens or it does
//! not, whether its process is killed or a value's own code panics in the middle of it.

use std::panic::{RefUnwindSafe, UnwindSafe};

macro_rules! unwind_safe {
    ($($Handle:ty),* $(,)?) => {
        $(
            impl<T> UnwindSafe for $Handle {}
            impl<T> RefUnwindSafe for $Handle {}
        )*
    };
}

unwind_safe!(crate::Queue<T>, crate::JoinableQueue<T>, crate::queue::Producer<T>, crate::queue::Consumer<T>);
unwind_safe!(crate::Connection<T>, crate::Sender<T>, crate::Receiver<T>);
unwind_safe!(crate::thread::Queue<T>, crate::thread::Producer<T>, crate::thread::Consumer<T>);
unwind_safe!(crate::thread::JoinableQueue<T>, crate::thread::LifoQueue<T>, crate::thread::PriorityQueue<T>);
