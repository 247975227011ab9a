//! Servers that are one, and their files, which go with them.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use proc_core::{Stdio, command::Popen};

pub(crate) struct Servers {
    pub(crate) urls: String,
    directory: PathBuf,
    pub(crate) processes: Vec<Running>,
    /// Where each tells what it has done.
    http: Vec<u16>,
}

/// Is killed when it is dropped.
pub(crate) struct Running(pub(crate) Popen);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server's program, as `ClusterPool::local` looks for it.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::var_os("NATS_SERVER_BIN").map(PathBuf::from);
    named.or_else(|| env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()))
}

impl Servers {
    pub(crate) fn start(program: &Path, n: usize) -> io::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let directory = env::temp_dir().join(format!("cluster-bench-{}-{number}", std::process::id()));
        fs::create_dir(&directory)?;
        let listeners: Vec<_> = (0..3 * n).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let ports: Vec<_> = listeners.iter().map(|one| Ok(one.local_addr()?.port())).collect::<io::Result<_>>()?;
        drop(listeners);
        let (outer, rest) = ports.split_at(n);
        let (inner, http) = rest.split_at(n);
        let routes: Vec<_> = inner.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let mut processes = Vec::new();
        for i in 0..n {
            let (store, settings) = (directory.join(format!("n{i}")), directory.join(format!("settings-{i}")));
            let mut text = format!("listen: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n", outer[i], http[i]);
            text += &format!("jetstream {{ store_dir: {store:?} }}\n");
            if n > 1 {
                let (routes, port) = (routes.join(", "), inner[i]);
                text += &format!(
                    "server_name: n{i}\ncluster {{ name: bench, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
                );
            }
            fs::write(&settings, text)?;
            let server = Popen::builder([program.as_os_str(), "-c".as_ref(), settings.as_os_str()]);
            let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(io::Error::other)?;
            processes.push(Running(server));
        }
        let urls: Vec<_> = outer.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        Ok(Self { urls: urls.join(","), directory, processes, http: http.to_vec() })
    }

    /// How many messages have come in, and gone out, of all of them.
    pub(crate) fn messages(&self) -> [u64; 2] {
        let mut sums = [0; 2];
        for port in &self.http {
            let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
            stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let told: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            for (sum, what) in sums.iter_mut().zip(["in_msgs", "out_msgs"]) {
                *sum += told[what].as_u64().unwrap();
            }
        }
        sums
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.processes.clear();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
