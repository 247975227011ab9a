//! Steps side by side, so that no processor waits while a step does.
//!
//! What a step prints is kept in a file until it has ended: no two are mixed.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
    process::{Command, ExitStatus},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use crate::Outcome;

/// The steps of one lane, one after another.
pub(crate) type Lane<'a> = (&'static str, &'a [fn() -> Outcome]);

thread_local! {
    /// The lane of this thread.
    static LANE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs all lanes at once. After a failure, each lane ends with the step that it is at.
pub(crate) fn run(lanes: &[Lane<'_>]) -> Outcome {
    let has_failed = AtomicBool::new(false);
    let lane = |(name, steps): &Lane<'_>| {
        LANE.set(Some(*name));
        for step in *steps {
            if has_failed.load(Relaxed) {
                break;
            }
            if let Err(why) = step() {
                has_failed.store(true, Relaxed);
                eprintln!("xtask: {why}");
                return Err(why);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = lanes.iter().map(|steps| scope.spawn(|| lane(steps))).collect();
        let ends = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err("a lane has panicked".into())));
        // All are joined before one is chosen.
        ends.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Runs a command, and prints what it has printed: at once, or in a lane at its end.
pub(crate) fn status_of(command: &mut Command) -> io::Result<ExitStatus> {
    let Some(lane) = LANE.get() else { return command.status() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lanes");
    fs::create_dir_all(&folder)?;
    let path = folder.join(lane);
    let mut kept = File::options().read(true).append(true).create(true).open(path)?;
    kept.set_len(0)?;
    let ended = command.stdout(kept.try_clone()?).stderr(kept.try_clone()?).status();
    kept.seek(SeekFrom::Start(0))?;
    let mut out = io::stderr().lock();
    io::copy(&mut kept, &mut out)?;
    out.flush()?;
    ended
}
