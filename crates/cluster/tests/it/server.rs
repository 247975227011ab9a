//! A server of a test's own, here or in a network of its own.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::id,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use proc_core::{
    Stdio,
    command::{Popen, PopenBuilder},
};
use serde_json::Value;

use crate::support::no_server;

/// Where a program runs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) ip: String,
    /// What brings a command there.
    pub(crate) enter: Vec<String>,
}

impl Place {
    pub(crate) fn here() -> Self {
        Self { ip: "127.0.0.1".into(), enter: Vec::new() }
    }

    pub(crate) fn command(&self, args: &[&Path]) -> PopenBuilder {
        let enter = self.enter.iter().map(Path::new);
        let command = Popen::builder(enter.chain(args.iter().copied()));
        command.stdout(Stdio::null()).stderr(Stdio::null())
    }

    /// An agent of one slot.
    pub(crate) fn agent(&self, urls: &str) -> Popen {
        self.agent_of_slots(urls, 1)
    }

    pub(crate) fn agent_of_slots(&self, urls: &str, n_slots: usize) -> Popen {
        let agent = self.command(&[&env::current_exe().unwrap()]).env("CLUSTER_AGENT", urls);
        agent.env("CLUSTER_PLAIN", "1").env("CLUSTER_SLOTS", n_slots.to_string()).spawn().unwrap()
    }
}

/// A server with its settings and its files, which go with it.
pub(crate) struct Server {
    pub(crate) directory: PathBuf,
    pub(crate) place: Place,
    pub(crate) port: u16,
    pub(crate) process: Popen,
}

/// Ports that nobody has, for the moment.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

pub(crate) fn new_directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let directory = env::temp_dir().join(format!("cluster-test-{}-{}", id(), NEXT.fetch_add(1, Relaxed)));
    fs::create_dir(&directory).unwrap();
    directory
}

/// The program; `None`, with a word on standard error, where there is none.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::var_os("NATS_SERVER_BIN").map(PathBuf::from);
    let found =
        named.or_else(|| env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()));
    if found.is_none() {
        no_server("no nats-server");
    }
    found
}

impl Server {
    pub(crate) fn start(program: &Path, directory: PathBuf, port: u16, more: &str) -> Self {
        Self::start_at(Place::here(), program, directory, port, more)
    }

    pub(crate) fn start_at(place: Place, program: &Path, directory: PathBuf, port: u16, more: &str) -> Self {
        let (store, ip) = (directory.join("store"), &place.ip);
        let settings = format!("listen: \"{ip}:{port}\"\njetstream {{ store_dir: {store:?} }}\n{more}\n");
        fs::write(directory.join("settings"), settings).unwrap();
        let process = Self::run(&place, program, &directory);
        Self { directory, place, port, process }
    }

    fn run(place: &Place, program: &Path, directory: &Path) -> Popen {
        place.command(&[program, Path::new("-c"), &directory.join("settings")]).spawn().unwrap()
    }

    /// Starts the one that has ended once more, with the same files.
    pub(crate) fn restart(&mut self, program: &Path) {
        self.process.wait().unwrap();
        self.process = Self::run(&self.place, program, &self.directory);
    }

    /// Tells it something, by nothing but its protocol.
    pub(crate) fn tell(&self, subject: &str, payload: &[u8]) {
        let mut stream = TcpStream::connect((&self.place.ip[..], self.port)).unwrap();
        write!(stream, "CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n", payload.len()).unwrap();
        stream.write_all(payload).unwrap();
        stream.write_all(b"\r\nPING\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines();
        // Its answer to the last of them: it has heard the first.
        assert!(lines.any(|line| line.unwrap() == "PONG"));
    }

    /// A question to it, by nothing but its protocol.
    pub(crate) fn ask(&self, subject: &str) -> Value {
        let mut stream = TcpStream::connect((&self.place.ip[..], self.port)).unwrap();
        write!(stream, "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer 0\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0);
            if line.starts_with("MSG ") {
                let mut answer = vec![0; line.split_whitespace().last().unwrap().parse().unwrap()];
                lines.read_exact(&mut answer).unwrap();
                return serde_json::from_slice(&answer).unwrap();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}
