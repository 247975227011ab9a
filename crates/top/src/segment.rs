//! What lies in a memory file: read through a descriptor that cannot write, and believed in nothing.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use ipc::inspect::{QueueView, RingView};
use kernel::shm::inspect::{SharedView, Unreadable};
use lane::inspect::LaneView;
use pool::inspect::BoardView;
use sync::process::inspect::{Kind, SyncView};

use crate::process::MemoryFile;

/// What a memory file is.
#[derive(Debug)]
pub(crate) enum Content {
    Queue(QueueView),
    Pipe(Vec<RingView>),
    Lane(LaneView),
    Board(BoardView),
    Lock(Kind, SyncView),
    /// A value of a type of the program's own, or of a crate of ours that has no screen.
    Value(SharedView),
    /// Known by its name only.
    Named(&'static str),
    Unknown,
    Garbled(String),
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) content: Content,
    pub(crate) memory_bytes: u64,
}

/// Reads a memory file. It is not kept open: a program may have more of them than this one may have open.
///
/// # Errors
/// If it is gone, or may not be read.
pub(crate) fn read(memory: &MemoryFile) -> io::Result<Segment> {
    let file = memory.open()?;
    let memory_bytes = file.metadata()?.blocks() * 512;
    Ok(Segment { content: content(&file, &memory.name), memory_bytes })
}

fn content(file: &File, name: &str) -> Content {
    match name {
        "ipc-queue" => match ipc::inspect::queue(file) {
            Ok(view) => Content::Queue(view),
            Err(Unreadable::Other) => Content::Garbled("a queue's file without a queue's header".into()),
            Err(e) => garbled("queue", e),
        },
        "lane-spill" => Content::Named("large arguments and results of a worker"),
        "proc-core-preloaded" => Content::Named("what a fork server has loaded"),
        "proc-core" => block(file),
        _ => Content::Unknown,
    }
}

/// A block of `SharedMemory`, which may be anything.
fn block(file: &File) -> Content {
    match lane::inspect::lane(file) {
        Err(Unreadable::Other) => {}
        Ok(view) => return Content::Lane(view),
        Err(e) => return garbled("lane", e),
    }
    match ipc::inspect::pipe(file) {
        Err(Unreadable::Other) => {}
        Ok(view) => return Content::Pipe(view),
        Err(e) => return garbled("pipe", e),
    }
    match pool::inspect::board(file) {
        Err(Unreadable::Other) => {}
        Ok(view) => return Content::Board(view),
        Err(e) => return garbled("value", e),
    }
    let shared = match kernel::shm::inspect::shared(file) {
        Err(Unreadable::Other) => return Content::Unknown,
        Ok(shared) => shared,
        Err(e) => return garbled("value", e),
    };
    let Some(kind) = sync::process::inspect::kind_of(&shared) else { return Content::Value(shared) };
    match sync::process::inspect::read(file, kind) {
        Ok(view) => Content::Lock(kind, view),
        Err(e) => garbled("lock", e),
    }
}

fn garbled(what: &str, why: Unreadable) -> Content {
    Content::Garbled(match why {
        Unreadable::Other => format!("no {what}"),
        Unreadable::Version(version) => format!("a {what} of version {version}, which this program does not know"),
        Unreadable::Garbled(why) => format!("a {what} that is garbled: {why}"),
        Unreadable::Io(e) => format!("a {what} that cannot be read: {e}"),
    })
}
