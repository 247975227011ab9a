//! Waiting for many tasks at once.

mod any_task;
mod as_completed;
mod ready;
mod set;
#[cfg(test)]
mod tests;
mod wait;

pub(crate) use self::set::Set;
pub use self::{
    any_task::AnyTask,
    as_completed::{AsCompleted, AsCompletedStream, as_completed},
    wait::{Until, WaitTasks, Waited, wait, wait_tasks, wait_tasks_async},
};
