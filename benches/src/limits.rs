//! Bare mechanisms without types, errors or crash safety: what one cannot beat by much.

mod lock;
mod ring;
mod sleeper;
mod slots;
mod word;

pub use lock::{Bare, FutexMutex, PosixSemaphore, Pthread};
pub use ring::{Order, Ring};
pub use sleeper::Sleeper;
pub use slots::Slots;
pub use word::FutexWord;
