//! A value per thread, per object.
//!
//! ```
//! use std::{cell::Cell, thread};
//! use tls::Local;
//!
//! static DATA: Local<Cell<u64>> = Local::new(|| Cell::new(0));
//!
//! DATA.with(|d| d.set(d.get() + 1));
//! thread::spawn(|| DATA.with(|d| assert_eq!(d.get(), 0))).join().unwrap();
//! DATA.with(|d| assert_eq!(d.get(), 1));
//! ```
//!
//! # For people who know Python's threading
//! `threading.local()` is [`Locals`], a bag of named values; [`Local`] is the same for one value of one type, which is
//! what one mostly wants. Both belong to an object and not to the program, as in Python: two `Local`s are two sets of
//! values, and a value goes when its `Local` does.
//!
//! # What this is not
//! A replacement of `std::thread_local!` where a static of one thread's own is all that is needed: that one drops its
//! value with its thread, and is faster. `Local` is for values that belong to an object, and for totals over threads.
#![forbid(unsafe_code)]

mod local;
mod locals;
mod token;

pub use local::{Local, Ref};
pub use locals::{Key, Locals};
