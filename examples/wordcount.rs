//! Counts the words of a directory tree with a pool of worker processes.
//!
//! `cargo run --release --example wordcount -- [DIR] [--workers N] [--threads] [--top N] [--json] [--kill-workers N]
//! [--cluster URL]`
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
//! `--cluster nats://HOST:4222`, built with `--features cluster`, does the same on all hosts where this program runs as an
//! agent (`CLUSTER_AGENT=nats://HOST:4222`); they read the files themselves, by the same paths. Beyond this machine TLS is required, unless `CLUSTER_PLAIN=1`. `--cluster local` starts a server
//! and agents here.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use pool::{ProcessPool, TaskError, ThreadPool};
use serde::{Deserialize, Serialize};

/// Files are handed to workers in batches of about so many bytes.
const BATCH_BYTES: u64 = 2 << 20;
/// A batch whose worker was killed is done again so many times.
const RETRIES: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse(std::env::args_os().skip(1))?;
    let begun = Instant::now();
    let mut tree = Tree::default();
    tree.walk(&options.dir);
    let (n_files, n_bytes) = (tree.files.len(), tree.files.iter().map(|(_, bytes)| bytes).sum());
    let progress = options.progress_bar(n_bytes);
    let mut total = Counted { skipped: tree.skipped, ..Counted::default() };
    let mut add = |result: Result<Counted, TaskError>| -> Result<(), TaskError> {
        let counted = result?;
        progress.inc(counted.bytes);
        total.merge(counted);
        Ok(())
    };
    let batches = batches(tree.files);
    if options.threads {
        let pool = ThreadPool::builder().workers(options.workers).chunk_size(1).build()?;
        pool.imap_unordered(count_batch, batches).try_for_each(&mut add)?;
        pool.close();
        pool.join()?;
    } else if let Some(url) = &options.cluster {
        options.workers = on_cluster(url, options.workers, batches, &mut add)?;
    } else {
        let pool = Arc::new(ProcessPool::builder().workers(options.workers).retries(RETRIES).chunk_size(1).build()?);
        let killer = options.kill_workers.map(|per_second| Killer::start(&pool, per_second));
        pool.imap_unordered(count_batch, batches).try_for_each(&mut add)?;
        drop(killer);
        pool.close();
        pool.join()?;
    }
    progress.finish_and_clear();
    options.print(&total, n_files, begun.elapsed());
    Ok(())
}

/// Says how many workers there were at the end.
#[cfg(feature = "cluster")]
fn on_cluster(
    url: &str,
    n_agents: usize,
    batches: impl Iterator<Item = Vec<OsString>>,
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
    _: impl Iterator<Item = Vec<OsString>>,
    _: impl FnMut(Result<Counted, TaskError>) -> Result<(), TaskError>,
) -> Result<usize, Box<dyn Error>> {
    Err("built without clusters: add --features cluster".into())
}

/// What a worker finds in a batch of files, and what the whole comes to.
#[derive(Default, Serialize, Deserialize)]
struct Counted {
    files: u64,
    bytes: u64,
    words: HashMap<Vec<u8>, u64>,
    skipped: Vec<(OsString, String)>,
}

impl Counted {
    fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.skipped.extend(other.skipped);
        for (word, n) in other.words {
            *self.words.entry(word).or_default() += n;
        }
    }

    fn add(&mut self, text: &mut [u8]) {
        self.files += 1;
        self.bytes += text.len() as u64;
        text.make_ascii_lowercase();
        for word in text.split(|byte| !(byte.is_ascii_alphanumeric() || *byte >= 0x80)).filter(|word| !word.is_empty())
        {
            match self.words.get_mut(word) {
                Some(n) => *n += 1,
                None => drop(self.words.insert(word.to_vec(), 1)),
            }
        }
    }
}

/// Runs in a worker.
fn count_batch(files: Vec<OsString>) -> Counted {
    let mut counted = Counted::default();
    for path in files {
        match read_text(Path::new(&path)) {
            Ok(Some(mut text)) => counted.add(&mut text),
            Ok(None) => counted.skipped.push((path, "binary".into())),
            Err(e) => counted.skipped.push((path, e.to_string())),
        }
    }
    counted
}

/// The content of a file, or `None` if it is binary.
fn read_text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const LOOK_BYTES: u64 = 8 << 10;
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    file.by_ref().take(LOOK_BYTES).read_to_end(&mut text)?;
    if text.contains(&0) {
        return Ok(None);
    }
    file.read_to_end(&mut text)?;
    Ok(Some(text))
}

/// The regular files of a directory tree with their sizes, and what could not be looked at.
#[derive(Default)]
struct Tree {
    files: Vec<(PathBuf, u64)>,
    skipped: Vec<(OsString, String)>,
}

impl Tree {
    fn walk(&mut self, dir: &Path) {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) => return self.skipped.push((dir.into(), e.to_string())),
        };
        for entry in entries {
            let found = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?, entry.metadata()?.len())));
            match found {
                Ok((path, kind, _)) if kind.is_dir() => self.walk(&path),
                Ok((path, kind, bytes)) if kind.is_file() => self.files.push((path, bytes)),
                Ok(_) => {}
                Err(e) => self.skipped.push((dir.into(), e.to_string())),
            }
        }
    }
}

fn batches(files: Vec<(PathBuf, u64)>) -> impl Iterator<Item = Vec<OsString>> {
    let mut files = files.into_iter().peekable();
    std::iter::from_fn(move || {
        files.peek()?;
        let mut bytes = 0;
        let batch = std::iter::from_fn(|| {
            let (path, len) = files.next_if(|_| bytes < BATCH_BYTES)?;
            bytes += len;
            Some(path.into_os_string())
        });
        Some(batch.collect())
    })
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
                if let Some(pid) = pids.get((random >> 33) % pids.len().max(1)) {
                    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
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
        };
        let mut args = args.map(|arg| arg.into_string().unwrap_or_else(|arg| arg.to_string_lossy().into_owned()));
        while let Some(arg) = args.next() {
            let mut number = || -> Result<usize, Box<dyn Error>> {
                let value = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
                Ok(value.parse().map_err(|_| format!("{arg} needs a number, not {value}"))?)
            };
            match arg.as_str() {
                "--cluster" => options.cluster = Some(args.next().ok_or("--cluster needs a URL, or `local`")?),
                "--workers" => options.workers = number()?.max(1),
                "--threads" => options.threads = true,
                "--json" => options.json = true,
                "--top" => options.top = number()?,
                "--kill-workers" => options.kill_workers = Some(u32::try_from(number()?)?),
                other if other.starts_with('-') => return Err(format!("there is no option {other}").into()),
                dir => options.dir = dir.into(),
            }
        }
        if options.cluster.is_some() && (options.threads || options.kill_workers.is_some()) {
            return Err("--cluster goes with neither --threads nor --kill-workers".into());
        }
        if options.threads && options.kill_workers.is_some() {
            return Err("threads cannot be killed one by one: --kill-workers is for processes".into());
        }
        Ok(options)
    }

    /// Draws nothing when standard error is no terminal.
    fn progress_bar(&self, n_bytes: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        ProgressBar::new(n_bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn print(&self, total: &Counted, n_found: usize, elapsed: Duration) {
        let mut top: Vec<_> = total.words.iter().map(|(word, n)| (String::from_utf8_lossy(word), *n)).collect();
        top.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
        top.truncate(self.top);
        let n_words: u64 = total.words.values().sum();
        let mut skipped: Vec<_> = total.skipped.iter().map(|(path, why)| (path.to_string_lossy(), why)).collect();
        skipped.sort();
        if self.json {
            let report = serde_json::json!({
                "files": total.files, "bytes": total.bytes, "words": n_words, "distinct": total.words.len(),
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
            total.words.len(),
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
