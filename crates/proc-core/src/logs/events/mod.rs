//! Events of `tracing`: from a child's default subscriber into its owner's.

mod callsites;
mod emit;
mod spans;
mod subscriber;

use tracing_core::{Dispatch, Level, dispatcher, metadata::LevelFilter, subscriber::NoSubscriber};

pub(super) use self::{
    emit::emit,
    subscriber::{install, is_ours},
};

/// The calling thread's subscriber, and the most verbose level that subscribers want, as [`level_number`] counts; `None` if there
/// is none.
pub(super) fn current() -> Option<(Dispatch, u8)> {
    let level = level_number(LevelFilter::current().into_level()?);
    let dispatch = dispatcher::get_default(Dispatch::clone);
    (!dispatch.is::<NoSubscriber>()).then_some((dispatch, level))
}

/// As `log` counts, from 1 for errors to 5.
fn level_number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        _ => 5,
    }
}

fn level_of(number: u8) -> Level {
    match number {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// The filter that lets levels up to that through.
pub(super) fn filter(number: u8) -> LevelFilter {
    LevelFilter::from_level(level_of(number))
}
