//! What a confined child is for. Each runs under [`Confinement::compute`], and a call that is refused ends it.

use std::{
    collections::HashMap,
    io::{Read, Write},
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use proc_core::{Builder, Confinement, Process, Signal, StartMethod, handover::Fd, shm::SharedMemory};

use crate::{has, watchdog};

fn confined() -> Builder {
    Process::builder().confine(Confinement::compute().end_at_refusal())
}

#[test]
fn values_of_any_size_go_in_and_out() {
    let _dog = watchdog();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for len in [0, 100, 5 << 20] {
            let bytes = vec![7_u8; len];
            let returned = confined().start_method(method).spawn(|bytes: Vec<u8>| bytes, (bytes,)).unwrap();
            assert_eq!(returned.join().unwrap(), vec![7; len]);
        }
    }
}

/// A child by `fork`, which needs an owner with one thread.
#[test]
fn a_forked_child_is_confined() {
    let _dog = watchdog();
    fn host() -> (bool, bool) {
        let opens = || std::fs::File::open("/etc/passwd").is_ok();
        let confined = Process::builder().confine(Confinement::compute()).fork(opens).unwrap();
        (confined.join().unwrap(), Process::fork(opens).unwrap().join().unwrap())
    }
    assert_eq!(Process::spawn(host, ()).unwrap().join().unwrap(), (false, true));
}

#[test]
fn handles_go_in_and_out() {
    let _dog = watchdog();
    fn work(mut memory: SharedMemory, pipe: Fd) -> (SharedMemory, Fd) {
        let mut writer = std::fs::File::from(pipe.0);
        writer.write_all(b"from inside").unwrap();
        let made = SharedMemory::new(4096).unwrap();
        drop(std::mem::replace(&mut memory, made));
        (memory, std::io::pipe().unwrap().0.into())
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = confined().spawn(work, (SharedMemory::new(4096).unwrap(), writer.into())).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), process.join().unwrap().0.len()), ("from inside", 4096));
}

#[test]
fn computing_takes_no_more() {
    let _dog = watchdog();
    fn compute() -> usize {
        let begun = (Instant::now(), SystemTime::now());
        // A hash table seeds itself by random numbers.
        let table: HashMap<u64, String> = (0..1000).map(|n| (n, n.to_string())).collect();
        let large = vec![1_u8; 64 << 20];
        let threads: Vec<_> = (0..4)
            .map(|n| {
                std::thread::Builder::new().name(format!("worker {n}")).spawn(move || vec![n; 1 << 20].len()).unwrap()
            })
            .collect();
        let n: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let joined_at_exit = proc_core::thread::spawn(move || receiver.recv_timeout(Duration::from_millis(5)).is_err());
        assert!(joined_at_exit.join().unwrap());
        drop(sender);
        std::thread::sleep(Duration::from_millis(1));
        assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
        assert!(begun.0.elapsed() > Duration::ZERO && begun.1.elapsed().is_ok());
        // Signals to itself.
        proc_core::current_process().disregard(Signal::SIGUSR1).unwrap();
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        table.len() + large.len() + n
    }
    let process = confined().stderr(Stdio::null()).spawn(compute, ()).unwrap();
    assert_eq!(process.join().unwrap(), 1000 + (64 << 20) + (4 << 20));
}

#[test]
fn standard_streams_are_written() {
    let _dog = watchdog();
    fn say() {
        println!("one");
        eprintln!("two");
    }
    let process = confined().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn(say, ()).unwrap();
    let said = std::io::read_to_string(process.take_stdout().unwrap()).unwrap();
    let complained = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
    assert_eq!((said.as_str(), complained.as_str()), ("one\n", "two\n"));
    process.join().unwrap();
}

#[test]
fn exits_are_told() {
    let _dog = watchdog();
    let process = confined().spawn(|| std::process::exit(3), ()).unwrap();
    let ended: Result<(), _> = process.join();
    assert!(matches!(ended, Err(proc_core::ProcessError::Exited { code: 3, .. })), "{ended:?}");
}

#[test]
fn files_are_made_below_the_directory() {
    let _dog = watchdog();
    let dir = std::env::temp_dir().join(format!("confine-files-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    fn work(dir: std::path::PathBuf) -> String {
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/a"), "text").unwrap();
        std::fs::rename(dir.join("sub/a"), dir.join("b")).unwrap();
        std::fs::hard_link(dir.join("b"), dir.join("c")).unwrap();
        std::os::unix::fs::symlink("b", dir.join("d")).unwrap();
        std::fs::OpenOptions::new().append(true).open(dir.join("c")).unwrap().write_all(b" and more").unwrap();
        std::fs::remove_dir(dir.join("sub")).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 3);
        std::fs::read_to_string(dir.join("d")).unwrap()
    }
    let confinement = Confinement::files(&dir).end_at_refusal();
    if has(&confinement, "files_are_made_below_the_directory") {
        let text = Process::builder().confine(confinement).spawn(work, (dir.clone(),)).unwrap().join().unwrap();
        assert_eq!(text, "text and more");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn programs_run_where_they_may() {
    let _dog = watchdog();
    fn run() -> Vec<u8> {
        proc_core::command::run(["echo", "text"]).unwrap().stdout
    }
    let confinement = Confinement::new()
        .execute("/usr")
        .execute("/bin")
        .execute("/lib")
        .write("/dev/null")
        .read("/proc")
        .no_network();
    let confinement = if std::path::Path::new("/lib64").exists() { confinement.execute("/lib64") } else { confinement };
    if has(&confinement, "programs_run_where_they_may") {
        let process = Process::builder().confine(confinement).spawn(run, ()).unwrap();
        assert_eq!(process.join().unwrap(), b"text\n");
    }
}

/// Of which a confinement's Landlock domain lets no signal out.
#[test]
fn it_dies_with_its_owner() {
    let _dog = watchdog();
    fn own(pipe: Fd) {
        let confinement = Confinement::new().best_effort().no_new_processes();
        let wait = |pipe: Fd| {
            let mut pipe = std::fs::File::from(pipe.0);
            pipe.write_all(b"!").unwrap();
            std::thread::sleep(Duration::MAX);
        };
        let _ = Process::builder().confine(confinement).spawn(wait, (pipe,)).unwrap().join();
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    let owner = Process::spawn(own, (writer.into(),)).unwrap();
    reader.read_exact(&mut [0]).unwrap();
    owner.kill().unwrap();
    // The child had the last copy.
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

/// A list in a list in a list.
#[derive(serde::Serialize, serde::Deserialize)]
struct Nested(Vec<Nested>);

/// To read them is a question of the stack that is left, the bounds of which a process has to look up.
#[test]
fn deeply_nested_values_are_read_and_written() {
    let _dog = watchdog();
    fn depth(value: &Nested) -> usize {
        1 + value.0.first().map_or(0, depth)
    }
    let value = (0..300).fold(Nested(Vec::new()), |value, _| Nested(vec![value]));
    let back = confined().spawn(|value: Nested| Nested(vec![value]), (value,)).unwrap().join().unwrap();
    assert_eq!(depth(&back), 302);
}
