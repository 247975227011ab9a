//! Bare mechanisms without types, errors or crash safety: what one cannot beat by much.

mod lock;
mod ring;

pub use lock::{Bare, FutexMutex, PosixSemaphore, Pthread};
pub use ring::{Order, Ring};
