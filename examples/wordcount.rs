//! Counts the words of a directory tree with a pool of worker processes.
//!
//! `cargo run --release --example wordcount -- [DIR] [--workers N] [--threads] [--top N] [--json] [--kill-workers N]
//! [--cluster URL] [--trace FILE]`
//!
//! Every regular file below DIR is read, hidden ones too; symbolic links are not followed. A file with a NUL in its
//! first 8 KiB is binary and skipped. A word is a longest run of the bytes `[A-Za-z0-9\x80-\xff]`, in lower case
//! (ASCII only). DIR is by default the sources in cargo's registry, or else the current directory.
//!
//! The order of its output: the batches are counted in any order (`imap_unordered`), which sums do not show. The words
//! are printed by their number, those of the same number by the alphabet; so only the times differ from run to run.
//!
//! `--threads` does the same on a thread pool; `--kill-workers N` kills a random worker with SIGKILL N times a second,
//! and the result is the same to the last word.
//!
//! `--trace FILE` writes what each worker ran, and when, to a new file that Perfetto and chrome://tracing open.
//!
//! `--cluster nats://HOST:4222`, built with `--features cluster`, does the same on all hosts where this program runs as an
//! agent (`CLUSTER_AGENT=nats://HOST:4222`); they read the files themselves, by the same paths. Beyond this machine TLS is required, unless `CLUSTER_PLAIN=1`. `--cluster local` starts a server
//! and agents here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    error::Error,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Read},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::signal::Signal;
use pool::{ProcessPool, TaskError, ThreadPool, Trace};
use serde::{Deserialize, Serialize};
use test_support::processes::Child;

/// Files are handed to workers in batches of about so many bytes.
const BATCH_BYTES: u64 = 2 << 20;
/// A batch whose worker was killed is done again so many times.
const RETRIES: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse(std::env::args_os().skip(1))?;
    // Before the work is done: it must not be in vain.
    let trace_file = options.trace.as_ref().map(File::create_new).transpose()?;
    let trace = Trace::new();
    let begun = Instant::now();
    let progress = options.progress_bar();
    let mut tree = Tree::new(options.dir.clone(), progress.clone());
    let mut total = Total::default();
    let mut add = |result: Result<Counted, TaskError>| -> Result<(), TaskError> {
        let counted = result?;
        progress.inc(counted.bytes);
        total.add(counted);
        Ok(())
    };
    let batches = tree.by_ref();
    if options.threads {
        let pool = ThreadPool::builder().workers(options.workers).chunk_size(1);
        let pool = if trace_file.is_some() { pool.trace(&trace) } else { pool }.build()?;
        pool.imap_unordered(count_batch, batches).try_for_each(&mut add)?;
        pool.close();
        pool.join()?;
    } else if let Some(url) = &options.cluster {
        options.workers = on_cluster(url, options.workers, batches, &mut add)?;
    } else {
        let pool = ProcessPool::builder().workers(options.workers).retries(RETRIES).chunk_size(1);
        let pool = Arc::new(if trace_file.is_some() { pool.trace(&trace) } else { pool }.build()?);
        let killer = options.kill_workers.map(|per_second| Killer::start(&pool, per_second));
        pool.imap_unordered(count_batch, batches).try_for_each(&mut add)?;
        drop(killer);
        pool.close();
        pool.join()?;
    }
    progress.finish_and_clear();
    total.skipped.append(&mut tree.skipped);
    options.print(&total, tree.n_files, begun.elapsed());
    if let Some(file) = trace_file {
        trace.write(BufWriter::new(file))?;
    }
    Ok(())
}

/// Says how many workers there were at the end.
#[cfg(feature = "cluster")]
fn on_cluster(
    url: &str,
    n_agents: usize,
    batches: impl Iterator<Item = Vec<Vec<u8>>>,
    add: impl FnMut(Result<Counted, TaskError>) -> Result<(), TaskError>,
) -> Result<usize, Box<dyn Error>> {
    let is_plain = std::env::var("CLUSTER_PLAIN").is_ok_and(|plain| plain == "1");
    let settings = cluster::ClusterPool::builder().retries(RETRIES).chunk_size(1).allow_plain(is_plain);
    let pool = if url == "local" { settings.local(n_agents)? } else { settings.connect(url)? };
    pool.imap_unordered(count_batch, batches).try_for_each(add)?;
    let n_workers = pool.stats().n_workers;
    pool.close();
    pool.join()?;
    Ok(n_workers)
}

#[cfg(not(feature = "cluster"))]
fn on_cluster(
    _: &str,
    _: usize,
    _: impl Iterator<Item = Vec<Vec<u8>>>,
    _: impl FnMut(Result<Counted, TaskError>) -> Result<(), TaskError>,
) -> Result<usize, Box<dyn Error>> {
    Err("built without clusters: add --features cluster".into())
}

/// What a worker finds in a batch of files. Long vectors travel faster than a map of many short words.
#[derive(Default, Serialize, Deserialize)]
struct Counted {
    files: u64,
    bytes: u64,
    /// The different short words.
    short: Vec<u64>,
    /// How often each of them occurs.
    short_numbers: Vec<u64>,
    /// The other different words, each with a zero after it.
    long: Vec<u8>,
    long_numbers: Vec<u64>,
    skipped: Vec<(OsString, String)>,
}

/// What the whole comes to.
#[derive(Default)]
struct Total {
    files: u64,
    bytes: u64,
    short: Numbers<u64>,
    long: Numbers<Vec<u8>>,
    skipped: Vec<(OsString, String)>,
}

impl Total {
    fn add(&mut self, counted: Counted) {
        self.files += counted.files;
        self.bytes += counted.bytes;
        self.skipped.extend(counted.skipped);
        for (word, number) in counted.short.into_iter().zip(counted.short_numbers) {
            *self.short.entry(word).or_default() += number;
        }
        for (word, number) in counted.long.split(|byte| *byte == 0).zip(counted.long_numbers) {
            match self.long.get_mut(word) {
                Some(total) => *total += number,
                None => drop(self.long.insert(word.to_vec(), number)),
            }
        }
    }

    fn n_distinct(&self) -> usize {
        self.short.len() + self.long.len()
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.short.values().chain(self.long.values()).copied()
    }

    /// The words that occur at least so often.
    fn frequent(&self, least: u64) -> impl Iterator<Item = (String, u64)> {
        let short = self.short.iter().map(|(word, n)| (Cow::Owned(bytes_of(*word)), *n));
        let long = self.long.iter().map(|(word, n)| (Cow::Borrowed(word), *n));
        let frequent = short.chain(long).filter(move |(_, n)| *n >= least);
        frequent.map(|(word, n)| (String::from_utf8_lossy(&word).into_owned(), n))
    }
}

/// How often each word occurs. The standard library's hash function takes a third of the whole time.
type Numbers<Word> = HashMap<Word, u64, RandomState>;

/// Runs in a worker. A path goes there as its bytes, which need not be text, and are copied as a whole.
fn count_batch(files: Vec<Vec<u8>>) -> Counted {
    let (mut counted, mut text) = (Counted::default(), Vec::new());
    for path in files {
        let before = text.len();
        let path = OsString::from_vec(path);
        match read_text(Path::new(&path), &mut text) {
            Ok(true) => {
                counted.files += 1;
                counted.bytes += (text.len() - before) as u64;
                text.extend([b' '; 8]);
            }
            not_read => {
                text.truncate(before);
                counted.skipped.push((path, not_read.map_or_else(|e| e.to_string(), |_| "binary".into())));
            }
        }
    }
    text.iter_mut().for_each(|byte| *byte = IN_WORD[*byte as usize]);
    // The keys are numbers, or parts of the text: no word is copied before it is known to be a new one.
    let (mut short, mut long) = (Numbers::<u64>::default(), Numbers::<&[u8]>::default());
    words_in(&text, |word| *short.entry(word).or_default() += 1, |word| *long.entry(word).or_default() += 1);
    (counted.short, counted.short_numbers) = short.into_iter().unzip();
    for (word, number) in long {
        counted.long.extend_from_slice(word);
        counted.long.push(0);
        counted.long_numbers.push(number);
    }
    counted
}

/// What a byte is in a word, in lower case; 0 if it is in none.
const IN_WORD: [u8; 256] = {
    let mut in_word = [0; 256];
    let mut byte = 0_u8;
    loop {
        if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            in_word[byte as usize] = byte.to_ascii_lowercase();
        }
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break in_word,
        }
    }
};

/// Finds the words of a text that has zeros in between, and eight at its end. Those of up to seven bytes, which most are, are
/// numbers with the first byte lowest: they are found, hashed and compared as one.
fn words_in<'a>(text: &'a [u8], mut short: impl FnMut(u64), mut long: impl FnMut(&'a [u8])) {
    const ONES: u64 = u64::MAX / 0xff;
    let mut rest = text;
    while let Some(next) = rest.first_chunk() {
        let eight = u64::from_le_bytes(*next);
        // Its lowest bit is in the first byte that is zero.
        let zeros = eight.wrapping_sub(ONES) & !eight & (ONES << 7);
        let passed = match zeros.trailing_zeros() / 8 {
            // More than one zero, often: the indentation of a line.
            0 => (eight.trailing_zeros() / 8) as usize,
            8 => {
                let len = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                long(&rest[..len]);
                len + 1
            }
            len => {
                short(eight & !(u64::MAX << (8 * len)));
                len as usize + 1
            }
        };
        rest = rest.get(passed..).unwrap_or_default();
    }
}

/// The bytes of a short word.
fn bytes_of(short: u64) -> Vec<u8> {
    short.to_le_bytes().into_iter().take_while(|byte| *byte != 0).collect()
}

/// Appends the content of a file to `text`; false, and nobody knows how much of it, if it is binary.
fn read_text(path: &Path, text: &mut Vec<u8>) -> io::Result<bool> {
    const LOOK_BYTES: u64 = 8 << 10;
    let before = text.len();
    let mut file = File::open(path)?;
    file.by_ref().take(LOOK_BYTES).read_to_end(text)?;
    if text[before..].contains(&0) {
        return Ok(false);
    }
    file.read_to_end(text)?;
    Ok(true)
}

/// The regular files of a directory tree, in batches; it is walked while they are asked for.
struct Tree {
    folders: Vec<PathBuf>,
    files: Vec<(PathBuf, u64)>,
    n_files: usize,
    /// What could not be looked at.
    skipped: Vec<(OsString, String)>,
    progress: ProgressBar,
}

impl Tree {
    fn new(dir: PathBuf, progress: ProgressBar) -> Self {
        Self { folders: vec![dir], files: Vec::new(), n_files: 0, skipped: Vec::new(), progress }
    }

    fn look_into(&mut self, dir: &Path) {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) => return self.skipped.push((dir.into(), e.to_string())),
        };
        for entry in entries {
            let found = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?, entry.metadata()?.len())));
            match found {
                Ok((path, kind, _)) if kind.is_dir() => self.folders.push(path),
                Ok((path, kind, bytes)) if kind.is_file() => self.files.push((path, bytes)),
                Ok(_) => {}
                Err(e) => self.skipped.push((dir.into(), e.to_string())),
            }
        }
    }

    fn next_file(&mut self) -> Option<(PathBuf, u64)> {
        while self.files.is_empty() {
            let dir = self.folders.pop()?;
            self.look_into(&dir);
        }
        self.files.pop()
    }
}

impl Iterator for Tree {
    type Item = Vec<Vec<u8>>;

    fn next(&mut self) -> Option<Vec<Vec<u8>>> {
        let (mut batch, mut n_bytes) = (Vec::new(), 0);
        while n_bytes < BATCH_BYTES
            && let Some((path, bytes)) = self.next_file()
        {
            n_bytes += bytes;
            batch.push(path.into_os_string().into_vec());
        }
        self.n_files += batch.len();
        self.progress.inc_length(n_bytes);
        (!batch.is_empty()).then_some(batch)
    }
}

/// A thread that kills workers until it is dropped.
struct Killer(Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Killer {
    fn start(pool: &Arc<ProcessPool>, per_second: u32) -> Self {
        let (stop, stopped) = mpsc::channel();
        let pool = Arc::clone(pool);
        let pause = Duration::from_secs(1) / per_second.max(1);
        let thread = std::thread::spawn(move || {
            let mut random = 1_usize;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let pids: Vec<u32> = pool.stats().workers.iter().filter_map(|worker| worker.pid).collect();
                let pid = pids.get((random >> 33) % pids.len().max(1));
                // It may have died since, and its pid be another's.
                if let Some(worker) = pid.and_then(|pid| Child::of(*pid)) {
                    worker.signal(Signal::SIGKILL);
                }
            }
        });
        Self(Some((stop, thread)))
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

struct Options {
    dir: PathBuf,
    workers: usize,
    threads: bool,
    json: bool,
    top: usize,
    kill_workers: Option<u32>,
    cluster: Option<String>,
    trace: Option<PathBuf>,
}

impl Options {
    fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, Box<dyn Error>> {
        let workers = proc_core::cpu_count();
        let mut options = Self {
            dir: default_dir(),
            workers,
            threads: false,
            json: false,
            top: 10,
            kill_workers: None,
            cluster: None,
            trace: None,
        };
        let mut args = args.map(|arg| arg.into_string().unwrap_or_else(|arg| arg.to_string_lossy().into_owned()));
        while let Some(arg) = args.next() {
            let mut number = || -> Result<usize, Box<dyn Error>> {
                let value = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
                Ok(value.parse().map_err(|_| format!("{arg} needs a number, not {value}"))?)
            };
            match arg.as_str() {
                "--cluster" => options.cluster = Some(args.next().ok_or("--cluster needs a URL, or `local`")?),
                "--trace" => options.trace = Some(args.next().ok_or("--trace needs a file")?.into()),
                "--workers" => options.workers = number()?.max(1),
                "--threads" => options.threads = true,
                "--json" => options.json = true,
                "--top" => options.top = number()?,
                "--kill-workers" => options.kill_workers = Some(u32::try_from(number()?)?),
                other if other.starts_with('-') => return Err(format!("there is no option {other}").into()),
                dir => options.dir = dir.into(),
            }
        }
        if options.cluster.is_some() && (options.threads || options.kill_workers.is_some() || options.trace.is_some()) {
            return Err("--cluster goes with none of --threads, --kill-workers and --trace".into());
        }
        if options.threads && options.kill_workers.is_some() {
            return Err("threads cannot be killed one by one: --kill-workers is for processes".into());
        }
        Ok(options)
    }

    /// Draws nothing when standard error is no terminal.
    fn progress_bar(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn print(&self, total: &Total, n_found: usize, elapsed: Duration) {
        let mut numbers: Vec<u64> = total.numbers().collect();
        let n_words: u64 = numbers.iter().sum();
        // As many as the last word that is printed has: to put the others in order would take longer than to find it.
        let least = match self.top {
            0 => u64::MAX,
            top if top < numbers.len() => *numbers.select_nth_unstable_by(top - 1, |a, b| b.cmp(a)).1,
            _ => 0,
        };
        let mut top: Vec<_> = total.frequent(least).collect();
        top.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
        top.truncate(self.top);
        let mut skipped: Vec<_> = total.skipped.iter().map(|(path, why)| (path.to_string_lossy(), why)).collect();
        skipped.sort();
        if self.json {
            let report = serde_json::json!({
                "files": total.files, "bytes": total.bytes, "words": n_words, "distinct": total.n_distinct(),
                "top": top, "skipped": skipped, "workers": self.workers, "seconds": elapsed.as_secs_f64(),
            });
            return println!("{report}");
        }
        for (word, n) in top {
            println!("{n:>12}  {word}");
        }
        let kind = if self.threads { "threads" } else { "processes" };
        let kind = if self.cluster.is_some() { "processes of a cluster" } else { kind };
        let rate = total.bytes as f64 / 1e6 / elapsed.as_secs_f64();
        println!(
            "{n_words} words, {} distinct, in {} of {n_found} files below {}",
            total.n_distinct(),
            total.files,
            self.dir.display()
        );
        println!(
            "{} bytes in {:.2} s, {rate:.0} MB/s, {} worker {kind}",
            total.bytes,
            elapsed.as_secs_f64(),
            self.workers
        );
        let mut reasons = BTreeMap::<&str, usize>::new();
        skipped.iter().for_each(|(_, why)| *reasons.entry(why.as_str()).or_default() += 1);
        for (why, n) in reasons {
            println!("skipped {n} files: {why}");
        }
    }
}

fn default_dir() -> PathBuf {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let sources = cargo_home.map(|home| home.join("registry/src")).filter(|dir| dir.is_dir());
    sources.unwrap_or_else(|| ".".into())
}
