//! Nothing that an intruder would try succeeds; each of it does without a confinement.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::symlink,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use proc_core::{Builder, Confinement, Process, ProcessError, StartMethod};

use crate::{
    attempts::{ATTEMPTS, Attempt, By, ENDS, Given, Place},
    has, owner, watchdog,
};

/// What an attempt needs.
struct Ground {
    place: Place,
    _tcp: TcpListener,
    _abstract: UnixListener,
    _datagrams: UnixDatagram,
    dir: PathBuf,
    /// That children would write to.
    word: Box<AtomicU64>,
}

impl Ground {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("confine-{name}-{}", std::process::id()));
        let (inside, outside) = (dir.join("inside"), dir.join("outside"));
        for dir in [&inside, &outside, &inside.join("mount")] {
            fs::create_dir_all(dir).unwrap();
        }
        for file in ["secret", "truncated", "removed"] {
            fs::write(outside.join(file), "secret").unwrap();
        }
        fs::write(inside.join("moved"), "").unwrap();
        symlink(outside.join("secret"), inside.join("link")).unwrap();
        let abstract_name = dir.to_str().unwrap().to_owned();
        let datagrams = outside.join("datagrams");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let word = Box::new(AtomicU64::new(0));
        Self {
            _abstract: UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap(),
            _datagrams: UnixDatagram::bind(&datagrams).unwrap(),
            place: Place {
                owner: std::process::id(),
                inside,
                outside,
                tcp_port: tcp.local_addr().unwrap().port(),
                abstract_name,
                datagrams,
                word: word.as_ptr() as usize,
            },
            _tcp: tcp,
            dir,
            word,
        }
    }

    fn given(&self) -> Given {
        let directory = File::open(&self.place.outside).unwrap().into();
        Given { program: File::open("/bin/true").unwrap().into(), directory }
    }

    /// Tries it in a child; the error number, or `Ok` if it succeeded.
    fn attempt(&self, builder: Builder, index: usize) -> Result<(), i32> {
        fn run(index: usize, place: Place, given: Given) -> Result<(), i32> {
            let (_, _, attempt): (_, _, Attempt) = ATTEMPTS[index];
            attempt(&place, &given).map_err(|e| e.raw_os_error().unwrap())
        }
        match builder.spawn(run, (index, self.place.clone(), self.given())).unwrap().join() {
            Ok(tried) => tried,
            // The program that it executed ended so.
            Err(ProcessError::Exited { code: 0, .. }) => Ok(()),
            Err(other) => panic!("{}: {other:?}", ATTEMPTS[index].0),
        }
    }

    fn check(&self, name: &str, confinement: &Confinement, methods: &[StartMethod], refuses: impl Fn(By) -> bool) {
        for (index, (attempt, by, _)) in ATTEMPTS.iter().enumerate().filter(|(_, (_, by, _))| refuses(*by)) {
            for method in methods {
                let builder = Process::builder().start_method(*method).confine(confinement.clone());
                let errors: &[i32] = match attempt {
                    // The C library falls back to `clone` then.
                    &"clone3" => &[libc::ENOSYS],
                    // An old kernel's answer to what moves between directories.
                    &"link_a_file_in" | &"rename_a_file_out" => &[libc::EPERM, libc::EACCES, libc::EXDEV],
                    _ => &[libc::EPERM, libc::EACCES],
                };
                match self.attempt(builder, index) {
                    Err(errno) if errors.contains(&errno) => {}
                    other => panic!("{name} ({method:?}): {attempt}, of {by:?}: {other:?}"),
                }
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

/// Each attempt is one: without a confinement it succeeds.
#[test]
fn unconfined_children_can() {
    let _dog = watchdog();
    let ground = Ground::new("control");
    for (index, (attempt, ..)) in ATTEMPTS.iter().enumerate() {
        match ground.attempt(Process::builder(), index) {
            Ok(()) => {}
            // Where the tests themselves are in a sandbox, or the kernel is built without the call.
            Err(errno) if !nix::unistd::geteuid().is_root() || ENDS.contains(attempt) || errno == libc::ENOSYS => {
                println!("({attempt}: this host refuses it to all, error {errno})");
            }
            Err(errno) => panic!("{attempt}: {errno}"),
        }
    }
    if nix::unistd::geteuid().is_root() {
        assert_eq!(ground.word.load(Relaxed), 7);
    }
}

#[test]
fn compute_refuses_them_all() {
    let _dog = watchdog();
    let ground = Ground::new("compute");
    ground.check("compute", &Confinement::compute(), &METHODS, |_| true);
}

#[test]
fn paths_keep_others_out() {
    let _dog = watchdog();
    let ground = Ground::new("paths");
    let files = Confinement::files(&ground.place.inside);
    let read_only = Confinement::read_only();
    let new = Confinement::new().write(&ground.place.inside).read("/bin");
    if !has(&new, "paths_keep_others_out") {
        return;
    }
    ground.check("files", &files, &METHODS, |by| by != By::Compute);
    ground.check("new and write", &new, &METHODS[..1], |by| [By::All, By::Domain, By::Paths].contains(&by));
    // All may be read, but for the memory and the descriptors of others.
    ground.check("read_only", &read_only, &METHODS[..1], |by| ![By::Compute, By::Paths].contains(&by));
    let readable = ["read_a_file", "open_a_directory_below_a_descriptor", "follow_a_link_out"];
    for (index, (attempt, by, _)) in ATTEMPTS.iter().enumerate() {
        if *by == By::Paths && *attempt != "open_by_openat2" {
            let tried = ground.attempt(Process::builder().confine(read_only.clone()), index);
            assert_eq!(tried.is_ok(), readable.contains(attempt), "read_only: {attempt}: {tried:?}");
        }
    }
}

#[test]
fn networks_and_processes_are_refused_alone() {
    let _dog = watchdog();
    let ground = Ground::new("alone");
    // Where there is no Landlock, all but what it does.
    let domain =
        if has(&Confinement::new(), "networks_and_processes_are_refused_alone") { By::Domain } else { By::All };
    let refuses = |by| move |refused| [By::All, domain, by].contains(&refused);
    let new = || Confinement::new().best_effort();
    ground.check("no_network", &new().no_network(), &METHODS[..1], refuses(By::NoNetwork));
    ground.check("no_new_processes", &new().no_new_processes(), &METHODS[..1], refuses(By::NoProcesses));
    ground.check("new", &new(), &METHODS, refuses(By::All));
    assert!(domain == By::All || ground.word.load(Relaxed) == 0);
    // And nothing else is.
    for (index, (attempt, by, _)) in ATTEMPTS.iter().enumerate().filter(|(_, (_, by, _))| *by == By::NoNetwork) {
        let tried = ground.attempt(Process::builder().confine(new().no_new_processes()), index);
        assert_eq!(tried, Ok(()), "{attempt}, of {by:?}");
    }
    let files: Vec<_> = ATTEMPTS.iter().map(|(attempt, ..)| *attempt).collect();
    for attempt in ["read_a_file", "link_a_file_in", "rename_a_file_out", "make_a_directory", "remove_a_file"] {
        let index = files.iter().position(|name| *name == attempt).unwrap();
        assert_eq!(ground.attempt(Process::builder().confine(new()), index), Ok(()), "{attempt}");
    }
}

#[test]
fn what_is_refused_of_others_is_allowed_of_oneself() {
    let _dog = watchdog();
    let govern = || owner::govern_oneself(std::process::id()).map_err(|e| e.raw_os_error().unwrap());
    let confined = Process::builder().confine(Confinement::new().best_effort().no_new_processes());
    assert_eq!(confined.spawn(govern, ()).unwrap().join().unwrap(), Ok(()));
}

/// Numbers of another ABI are no way around the filter.
#[test]
#[cfg(target_arch = "x86_64")]
fn other_abis_are_refused() {
    let _dog = watchdog();
    fn by_x32() -> i32 {
        // SAFETY: takes nothing.
        match unsafe { libc::syscall(0x4000_0000 | libc::SYS_getppid) } {
            -1 => std::io::Error::last_os_error().raw_os_error().unwrap(),
            _ => 0,
        }
    }
    fn by_interrupt() -> i32 {
        let pid: i32;
        // SAFETY: asks for the pid, by the number of the 32-bit interface; rbx is put back.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("eax") 20 => pid, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
        };
        pid
    }
    let run = |confinement: Confinement| Process::builder().confine(confinement);
    assert_eq!(run(Confinement::compute()).spawn(by_x32, ()).unwrap().join().unwrap(), libc::EPERM);
    assert_eq!(run(Confinement::new().best_effort()).spawn(by_x32, ()).unwrap().join().unwrap(), libc::ENOSYS);
    let control = Process::spawn(by_interrupt, ()).unwrap();
    let pid = control.pid();
    if control.join().ok() != Some(pid.cast_signed()) {
        println!("(other_abis_are_refused: int 0x80 left out, as this kernel has no 32-bit interface)");
        return;
    }
    for confinement in [Confinement::compute(), Confinement::new().best_effort()] {
        let ended = run(confinement).spawn(by_interrupt, ()).unwrap().join();
        assert!(matches!(ended, Err(ProcessError::Signaled { signal: libc::SIGSYS, .. })), "{ended:?}");
    }
}

/// The kernel's own answer, and not the lack of a terminal.
#[test]
fn nothing_is_typed_for_a_terminal() {
    let _dog = watchdog();
    fn type_for_it() -> i32 {
        // SAFETY: the byte lives as long as the call.
        unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) };
        std::io::Error::last_os_error().raw_os_error().unwrap()
    }
    let run =
        |builder: Builder| builder.stdin(proc_core::Stdio::null()).spawn(type_for_it, ()).unwrap().join().unwrap();
    assert_eq!(run(Process::builder()), libc::ENOTTY);
    assert_eq!(run(Process::builder().confine(Confinement::compute())), libc::EPERM);
    assert_eq!(run(Process::builder().confine(Confinement::new().best_effort())), libc::EPERM);
}

/// As above: the owner may have the terminal in common with its child.
#[test]
fn nobody_is_signalled_by_a_terminal() {
    let _dog = watchdog();
    fn signal() -> [i32; 3] {
        let argument = [0_u64; 2];
        [0x4004_5436, 0x5437, libc::TIOCSWINSZ].map(|command| {
            // SAFETY: the argument lives as long as the call.
            unsafe { libc::ioctl(0, command, argument.as_ptr()) };
            std::io::Error::last_os_error().raw_os_error().unwrap()
        })
    }
    let run = |builder: Builder| builder.stdin(proc_core::Stdio::null()).spawn(signal, ()).unwrap().join().unwrap();
    assert_eq!(run(Process::builder()), [libc::ENOTTY; 3]);
    for confinement in [Confinement::compute(), Confinement::new().best_effort().no_new_processes()] {
        assert_eq!(run(Process::builder().confine(confinement)), [libc::EPERM; 3]);
    }
}

#[test]
fn ports_are_those_that_were_named() {
    let _dog = watchdog();
    let (named, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    fn connect(named: u16, other: u16) -> [Option<i32>; 4] {
        let errno = |e: std::io::Error| e.raw_os_error().unwrap();
        let to = |port| std::net::TcpStream::connect(("127.0.0.1", port)).err().map(errno);
        // Another protocol of streams, which Landlock does not watch over.
        // SAFETY: takes integers.
        let multipath = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
        let multipath = (multipath < 0).then(std::io::Error::last_os_error).map(errno);
        [to(named), to(other), multipath, TcpListener::bind("127.0.0.1:0").err().map(errno)]
    }
    for base in [Confinement::new(), Confinement::compute()] {
        let confinement = base.connect_tcp(port(&named));
        if !has(&confinement, "ports_are_those_that_were_named") {
            return;
        }
        let builder = Process::builder().confine(confinement);
        let tried = builder.spawn(connect, (port(&named), port(&other))).unwrap().join().unwrap();
        assert_eq!(tried, [None, Some(libc::EACCES), Some(libc::EPERM), Some(libc::EPERM)]);
    }
    let control = Process::spawn(connect, (port(&named), port(&other))).unwrap().join().unwrap();
    assert_eq!([control[0], control[1], control[3]], [None; 3]);
}
