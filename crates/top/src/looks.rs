//! Where looks come from: a program that runs, or a recording of one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    time::Duration,
};

use crate::{
    graph,
    history::History,
    model::Snapshot,
    scan::{self, Root, ScanError},
    symbols::Programs,
};

/// Looks, one after another.
pub(crate) trait Looks {
    /// The next one; `None` if there are no more.
    ///
    /// # Errors
    /// Why nothing can be seen.
    fn next(&mut self) -> Result<Option<Snapshot>, LookError>;

    /// How long after the last one the next one is to be shown.
    fn pause(&mut self) -> Duration;

    /// Why there are no more.
    fn end(&self) -> &'static str;
}

/// Why there is no look.
#[derive(Debug)]
pub(crate) enum LookError {
    Scan(ScanError),
    Recording { line: usize, why: String },
}

impl std::fmt::Display for LookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scan(e) => e.fmt(f),
            Self::Recording { line, why } => write!(f, "line {line} of the recording is no look: {why}"),
        }
    }
}

impl std::error::Error for LookError {}

/// A program that runs.
pub(crate) struct Live {
    root: Root,
    interval: Duration,
    programs: Programs,
    history: History,
    recording: Option<File>,
}

impl Live {
    pub(crate) fn new(root: Root, interval: Duration) -> Self {
        Self { root, interval, programs: Programs::default(), history: History::default(), recording: None }
    }

    /// Writes each look to a new file, as a line of JSON.
    ///
    /// # Errors
    /// If it cannot be made, or is there.
    pub(crate) fn record(&mut self, path: &Path) -> io::Result<()> {
        self.recording = Some(File::create_new(path)?);
        Ok(())
    }
}

impl Looks for Live {
    fn next(&mut self) -> Result<Option<Snapshot>, LookError> {
        let mut snapshot = match scan::scan(self.root, Some(&mut self.programs)) {
            Ok(snapshot) => snapshot,
            Err(ScanError::Gone) => return Ok(None),
            Err(e) => return Err(LookError::Scan(e)),
        };
        self.history.add(&mut snapshot);
        snapshot.findings = graph::findings(&snapshot);
        if let Some(file) = &mut self.recording {
            let line = serde_json::to_string(&snapshot).map_err(io::Error::other);
            line.and_then(|line| writeln!(file, "{line}")).map_err(|e| LookError::Scan(ScanError::Io(e)))?;
        }
        Ok(Some(snapshot))
    }

    fn pause(&mut self) -> Duration {
        self.interval
    }

    fn end(&self) -> &'static str {
        "the program has ended"
    }
}

/// A recording.
pub(crate) struct Replay {
    file: BufReader<File>,
    /// The last line was none that can be gone on from.
    is_over: bool,
    n_lines: usize,
    at_ms: Option<u64>,
    ahead: Option<Result<Option<Snapshot>, LookError>>,
}

/// A line of a recording is at most so long; a program of thousands of queues has some MiB.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// The longest pause between two looks of a recording that is kept to.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Replay {
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), is_over: false, n_lines: 0, at_ms: None, ahead: None })
    }
}

impl Replay {
    fn read(&mut self) -> Result<Option<Snapshot>, LookError> {
        if self.is_over {
            return Ok(None);
        }
        self.n_lines += 1;
        let wrong = |why: String| LookError::Recording { line: self.n_lines, why };
        let mut line = Vec::new();
        let read = (&mut self.file).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        self.is_over = read.is_err() || !line.ends_with(b"\n");
        match read {
            Ok(0) => Ok(None),
            Ok(n) if n as u64 == MAX_LINE_BYTES && self.is_over => {
                Err(wrong(format!("it is longer than {} MiB", MAX_LINE_BYTES >> 20)))
            }
            Ok(_) => serde_json::from_slice(&line).map(Some).map_err(|e| wrong(e.to_string())),
            Err(e) => Err(wrong(e.to_string())),
        }
    }
}

impl Looks for Replay {
    fn next(&mut self) -> Result<Option<Snapshot>, LookError> {
        let next = self.ahead.take().unwrap_or_else(|| self.read())?;
        self.at_ms = next.as_ref().map(|snapshot| snapshot.at_ms);
        Ok(next)
    }

    fn pause(&mut self) -> Duration {
        let ahead = self.ahead.take().unwrap_or_else(|| self.read());
        let next_ms = ahead.as_ref().ok().and_then(|next| Some(next.as_ref()?.at_ms));
        self.ahead = Some(ahead);
        let pause = self.at_ms.zip(next_ms).map_or(0, |(before, next)| next.saturating_sub(before));
        Duration::from_millis(pause).min(LONGEST_PAUSE)
    }

    fn end(&self) -> &'static str {
        "the recording has ended"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{process, testing};

    #[test]
    fn a_recording_is_replayed_at_its_own_pace() {
        let path = std::env::temp_dir().join(format!("top-replay-{}", std::process::id()));
        let lines = [0, 700, 100_000].map(|ms| {
            let look = Snapshot { at_ms: 1000 + ms, ..testing::snapshot() };
            serde_json::to_string(&look).unwrap()
        });
        std::fs::write(&path, format!("{}\n{{}}\n", lines.join("\n"))).unwrap();
        let mut replay = Replay::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for pause in [Duration::ZERO, Duration::from_millis(700), LONGEST_PAUSE] {
            assert_eq!(replay.pause(), pause);
            assert!(replay.next().unwrap().is_some());
        }
        assert_eq!(replay.pause(), Duration::ZERO);
        assert!(replay.next().unwrap_err().to_string().starts_with("line 4 of the recording is no look"));
        assert!(replay.next().unwrap().is_none());
    }

    #[test]
    fn a_line_without_end_is_no_look() {
        let path = std::env::temp_dir().join(format!("top-endless-{}", std::process::id()));
        let look = serde_json::to_string(&testing::snapshot()).unwrap();
        std::fs::write(&path, format!("{look}\n{look}")).unwrap();
        let mut replay = Replay::open(&path).unwrap();
        assert!(replay.next().unwrap().is_some() && replay.next().unwrap().is_some(), "the last line needs no end");
        assert!(replay.next().unwrap().is_none());
        // A hole, which takes no room on the disk.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let mut replay = Replay::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(replay.next().unwrap().is_some());
        let why = replay.next().unwrap_err().to_string();
        assert_eq!(why, "line 2 of the recording is no look: it is longer than 64 MiB");
        assert!(replay.next().unwrap().is_none());
    }

    #[test]
    fn this_process_is_looked_at_and_recorded() {
        let path = std::env::temp_dir().join(format!("top-record-{}", std::process::id()));
        let pid = std::process::id();
        let start = process::all().unwrap()[&pid].start;
        let mut live = Live::new(Root { pid, start }, Duration::ZERO);
        live.record(&path).unwrap();
        assert!(live.record(&path).is_err(), "nobody's file is overwritten");
        let look = live.next().unwrap().unwrap();
        let mut replay = Replay::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(replay.next().unwrap().unwrap().at_ms, look.at_ms);
        let namesake = Root { pid, start: start + 1 };
        assert!(Live::new(namesake, Duration::ZERO).next().unwrap().is_none(), "another process has its pid now");
    }
}
