//! Queues, pipes and shared data between processes, which outlive any of their users.
#![deny(unsafe_code)]

mod array;
mod error;
pub mod joinable;
pub mod lane;
mod listener;
pub mod manager;
mod pipe;
pub mod queue;
pub mod thread;
mod value;

pub use self::array::{Array, ArrayGuard};
pub use self::error::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};
pub use self::listener::{Address, Client, Listener, Peers};
pub use self::manager::{Counter, Dict, List, Manager, ManagerError, Namespace, Proxy};
pub use self::pipe::{Connection, Receiver, RecvError, SendError, Sender, StreamReader, StreamWriter, channel, pipe};
pub use self::value::{Value, ValueGuard};
pub use self::{joinable::JoinableQueue, queue::Queue};
