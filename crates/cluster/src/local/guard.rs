//! The process that a server dies with.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use proc_core::{Fd, Stdio, command::Popen, wait_any};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::directory;

/// The server of one pool.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Server {
    program: PathBuf,
    directory: PathBuf,
    /// A client that knows it may use the server.
    pub(super) token: String,
    /// 0 as long as there was none.
    pub(super) port: u16,
}

/// Without the token, which is secret.
impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("directory", &self.directory).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Between two looks whether the server has begun.
const LOOK: Duration = Duration::from_millis(5);
/// How long it may take for that.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between the death of a server and the start of the next.
const PAUSE: Duration = Duration::from_millis(50);

const PID: &str = "pid";

impl Server {
    pub(super) fn new(program: PathBuf) -> io::Result<Self> {
        let mut random = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (name, token) = random.split_at(8);
        Ok(Self { program, directory: directory::path(&hex(name)), token: hex(token), port: 0 })
    }

    /// The pid of the one that runs.
    pub(super) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.directory.join(PID)).ok()?.parse().ok()
    }

    /// Starts it, and waits until it has a port.
    fn start(&mut self) -> Result<Popen, String> {
        let settings = self.directory.join("settings");
        self.write_settings(&settings).map_err(|e| format!("{}: {e}", settings.display()))?;
        let program = Popen::builder([self.program.as_os_str(), "-c".as_ref(), settings.as_os_str()]);
        let program = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = program.spawn().map_err(|e| e.to_string())?;
        let ports = self.directory.join(format!("nats-server_{}.ports", server.pid()));
        let begun = Instant::now();
        loop {
            if let Some(port) = read_port(&ports) {
                self.port = port;
                // For people, and for tests.
                let _ = fs::write(self.directory.join(PID), server.pid().to_string());
                return Ok(server);
            }
            if let Ok(Some(status)) = server.poll() {
                return Err(format!("{} ended with {status}", self.program.display()));
            }
            if begun.elapsed() > PATIENCE {
                // It is of no use.
                let _ = server.kill();
                return Err(format!("{} has opened no port within {PATIENCE:?}", self.program.display()));
            }
            thread::sleep(LOOK);
        }
    }

    /// In a file, as all users can read arguments.
    fn write_settings(&self, path: &Path) -> io::Result<()> {
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        // Each of its values is one of the server's language, too.
        let settings = json!({
            "host": "127.0.0.1",
            "port": port,
            "ports_file_dir": self.directory,
            "jetstream": { "store_dir": self.directory.join("store") },
            "authorization": { "token": self.token },
        });
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(settings.to_string().as_bytes())
    }
}

fn read_port(file: &Path) -> Option<u16> {
    let ports: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

/// Runs the server until `owner`, a pipe, has no writer any more, or this process gets a signal to terminate. A server that
/// dies is started again, with the same port and the same files. `report` is told the first one's port, or why there is none.
pub(super) fn run(mut server: Server, owner: Fd, report: Option<Fd>) -> Result<(), String> {
    let end = block_termination().map_err(|e| e.to_string())?;
    let _lock = directory::hold(&server.directory).map_err(|e| format!("{}: {e}", server.directory.display()))?;
    let mut report = report;
    let outcome = loop {
        match server.start() {
            Ok(running) => {
                tell(report.take(), &server.port.to_string());
                let ready = wait_any(&[&running, &owner, &end], None).map_err(|e| e.to_string())?;
                if ready != [0] {
                    // Everything in it goes with it; there is nothing to bring to an end.
                    let _ = running.kill();
                    let _ = running.wait();
                    break Ok(());
                }
            }
            Err(why) if report.is_some() => {
                tell(report.take(), &why);
                break Err(why);
            }
            Err(_) => {}
        }
        let pause = Some(PAUSE);
        if !wait_any(&[&owner, &end], pause).map_err(|e| e.to_string())?.is_empty() {
            break Ok(());
        }
    };
    // If it cannot be removed, the next one tries.
    let _ = fs::remove_dir_all(&server.directory);
    outcome
}

fn tell(report: Option<Fd>, what: &str) {
    if let Some(report) = report {
        // Fails if the owner has ended.
        let _ = fs::File::from(report.0).write_all(what.as_bytes());
    }
}

/// From now on termination is something that can be waited for.
fn block_termination() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
