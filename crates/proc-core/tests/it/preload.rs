//! Fork servers that load something before they make children.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use kernel::identity::ProcessId;
use proc_core::{ForkServer, PreloadError, Process, ProcessError, Target, handover::Fd, preloaded, shm::Shared};

use crate::{
    kills::{fork_servers, kill_after},
    watchdog, zombies,
};

type Checked = Result<(), Box<dyn Error>>;

/// Pieces of all sizes, small and large, some of which have grown and some have been freed.
struct Model {
    numbers: Vec<u64>,
    texts: Vec<String>,
    map: HashMap<u64, String>,
    tree: BTreeMap<u64, Vec<u8>>,
    n_calls: AtomicU64,
}

const MIB: usize = 1 << 20;

/// About as much memory, a quarter of it each.
fn load(mib: usize) -> Model {
    let n = mib as u64 * 1024;
    let mut numbers = Vec::new();
    // Grown in steps, beside what is freed again.
    for i in 0..n * 32 {
        numbers.push(i);
        if i % 4096 == 0 {
            drop(std::hint::black_box(vec![1_u8; 100_000]));
        }
    }
    Model {
        numbers,
        texts: (0..n * 3).map(|i| format!("text number {i:50}")).collect(),
        map: (0..n * 2).map(|i| (i, format!("value number {i:20}"))).collect(),
        tree: (0..n).map(|i| (i, vec![i as u8; 256])).collect(),
        n_calls: AtomicU64::new(0),
    }
}

/// Of everything that is in it.
fn sum(model: &Model) -> u64 {
    let bytes = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let map = model.map.iter().fold(0, |sum: u64, (key, text)| sum.wrapping_add(key ^ bytes(text.as_bytes())));
    let tree = model.tree.iter().fold(0, |sum: u64, (key, value)| sum.wrapping_add(key ^ bytes(value)));
    let texts = model.texts.iter().fold(0, |sum: u64, text| sum.wrapping_add(bytes(text.as_bytes())));
    model.numbers.iter().sum::<u64>() ^ map ^ tree.rotate_left(7) ^ texts.rotate_left(13)
}

fn in_child<R>(server: &ForkServer, target: impl Target<(), Output = R>) -> Result<R, ProcessError>
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    Process::builder().fork_server(server).spawn(target, ())?.join()
}

/// Which of two: kilobytes that this process alone has, in pages or in page tables.
fn private_kib() -> (u64, u64) {
    let number = |text: &str, name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    (number(&rollup, "Private_Dirty:") + number(&rollup, "Private_Clean:"), number(&status, "VmPTE:"))
}

#[test]
fn children_share_what_was_loaded_once() -> Checked {
    let _dog = watchdog();
    // A pipe tells how often the loader ran.
    let (mut told, tell) = std::io::pipe()?;
    fn load_and_tell(tell: Fd) -> Model {
        File::from(tell.0).write_all(b"x").unwrap();
        load(24)
    }
    let server = ForkServer::builder().preload(load_and_tell, (Fd::from(OwnedFd::from(tell)),)).build()?;
    let wanted = sum(&load(24));
    for _ in 0..4 {
        let (found, has_other) = in_child(&server, || (sum(preloaded().unwrap()), preloaded::<String>().is_some()))?;
        assert_eq!((found, has_other), (wanted, false));
        // What one writes is its own.
        let n_calls = || preloaded::<Model>().unwrap().n_calls.fetch_add(1, Relaxed);
        assert_eq!(in_child(&server, n_calls)?, 0);
    }
    assert!(preloaded::<Model>().is_none());
    assert!(!Process::spawn(|| preloaded::<Model>().is_some(), ())?.join()?);
    drop(server);
    let mut runs = Vec::new();
    told.read_to_end(&mut runs)?;
    assert_eq!(runs, b"x");
    Ok(())
}

#[test]
#[cfg(target_env = "gnu")]
fn a_child_has_next_to_no_memory_for_what_was_loaded() -> Checked {
    let _dog = watchdog();
    let small = ForkServer::builder().preload(load, (0,)).build()?;
    let large = ForkServer::builder().preload(load, (64,)).build()?;
    let of_small = in_child(&small, private_kib)?;
    let of_large = in_child(&large, private_kib)?;
    println!("private KiB of an idle child, pages and page tables: {of_small:?}, of one with 64 MiB {of_large:?}");
    assert!(of_large.0 <= of_small.0 + 64, "{of_large:?} {of_small:?}");
    // 64 MiB in pages of 4 KiB have page tables of 128 KiB.
    assert!(of_large.1 <= of_small.1 + 40, "{of_large:?} {of_small:?}");
    Ok(())
}

/// What a child frees, grows and makes beside it is right, in shared pages too.
#[test]
fn a_child_can_allocate_in_what_was_loaded() -> Checked {
    let _dog = watchdog();
    fn load_for_changes() -> std::sync::Mutex<Model> {
        std::sync::Mutex::new(load(16))
    }
    fn change() -> bool {
        let mut model = preloaded::<std::sync::Mutex<Model>>().unwrap().lock().unwrap();
        let model = &mut *model;
        // Larger than the file that it lies in.
        let n = model.numbers.len() as u64;
        for i in n..n + 40 * MIB as u64 / 8 {
            model.numbers.push(i);
        }
        assert_eq!(model.numbers.iter().sum::<u64>(), (0..n + 40 * MIB as u64 / 8).sum());
        model.tree.retain(|key, _| key % 3 == 0);
        assert!(model.tree.iter().all(|(key, value)| value.iter().all(|byte| *byte == *key as u8)));
        let zeros: Vec<Vec<u8>> = (0..2000).map(|n| vec![0; n * 7]).collect();
        assert!(zeros.iter().flatten().all(|byte| *byte == 0));
        for text in &mut model.texts {
            text.push_str(" and more");
        }
        let is_right = |(i, text): (usize, &String)| *text == format!("text number {i:50} and more");
        assert!(model.texts.iter().enumerate().all(is_right));
        model.map.extend((0..100_000).map(|i| (i | 1 << 40, String::new())));
        std::mem::take(&mut model.numbers);
        let threads: Vec<_> = (0..4_u8).map(|n| std::thread::spawn(move || vec![n; 8 * MIB])).collect();
        threads.into_iter().zip(0..).all(|(thread, n)| thread.join().unwrap().iter().all(|byte| *byte == n))
    }
    let server = ForkServer::builder().preload(load_for_changes, ()).build()?;
    for _ in 0..2 {
        assert!(in_child(&server, change)?);
    }
    Ok(())
}

#[test]
fn each_way_a_loader_fails_is_told() {
    let _dog = watchdog();
    fn ends(load: impl Target<(), Output = ()>) -> ProcessError {
        match ForkServer::builder().preload(load, ()).build().unwrap_err() {
            ProcessError::Preload(PreloadError::Ended(e)) => *e,
            other => panic!("{other:?}"),
        }
    }
    let error = ends(|| panic!("no such model"));
    assert!(matches!(&error, ProcessError::Panicked { message, .. } if message == "no such model"), "{error:?}");
    for (error, code) in [(ends(|| std::process::exit(0)), 0), (ends(|| std::process::exit(7)), 7)] {
        assert!(matches!(error, ProcessError::Exited { code: told, .. } if told == code), "{error:?}");
    }
    let error = ends(|| {
        // SAFETY: not at all.
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
    });
    let ProcessError::Signaled { signal: libc::SIGSEGV, crash: Some(crash), .. } = &error else { panic!("{error:?}") };
    assert!(
        crash.frames().iter().any(|frame| frame.file().is_some_and(|file| file.ends_with("preload.rs"))),
        "{crash}"
    );
    let error = ends(|| {
        // SAFETY: sends a signal to this process.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    assert!(matches!(error, ProcessError::Signaled { signal: libc::SIGKILL, .. }), "{error:?}");

    fn park() {
        loop {
            std::thread::park();
        }
    }
    let limit = Duration::from_millis(200);
    let begun = std::time::Instant::now();
    let hung = ForkServer::builder().preload(park, ()).time_limit(limit).build().unwrap_err();
    assert!(matches!(hung, ProcessError::Preload(PreloadError::TimedOut { limit: told }) if told == limit), "{hung:?}");
    assert!(begun.elapsed() >= limit);

    fn leave_threads() {
        std::thread::spawn(|| ()).join().unwrap();
        for name in ["left-behind", "another"] {
            std::thread::Builder::new().name(name.into()).spawn(|| std::thread::sleep(Duration::MAX)).unwrap();
        }
    }
    let error = ForkServer::builder().preload(leave_threads, ()).build().unwrap_err();
    let told = error.to_string();
    let ProcessError::Preload(PreloadError::Threads { mut names }) = error else { panic!("{told}") };
    names.sort();
    assert_eq!(names, ["another", "left-behind"]);
    assert!(told.contains("left-behind"), "{told}");
}

#[test]
fn a_loader_may_have_had_threads() -> Checked {
    let _dog = watchdog();
    fn load_in_threads() -> Vec<Vec<u64>> {
        std::thread::scope(|scope| {
            let parts: Vec<_> = (0..4).map(|n| scope.spawn(move || vec![n; MIB])).collect();
            parts.into_iter().map(|part| part.join().unwrap()).collect()
        })
    }
    let server = ForkServer::builder().preload(load_in_threads, ()).build()?;
    let is_right = || preloaded::<Vec<Vec<u64>>>().unwrap().iter().zip(0..).all(|(part, n)| *part == vec![n; MIB]);
    assert!(in_child(&server, is_right)?);
    Ok(())
}

#[test]
fn what_a_loader_prints_comes_once() -> Checked {
    let _dog = watchdog();
    fn host() -> bool {
        let load = || print!("loaded; ");
        let server = ForkServer::builder().preload(load, ()).build().unwrap();
        (0..3).all(|_| in_child(&server, || ()).is_ok())
    }
    let process = Process::builder().stdout(Stdio::piped()).spawn(host, ())?;
    assert_eq!(std::io::read_to_string(process.take_stdout().unwrap())?, "loaded; ");
    assert!(process.join()?);
    Ok(())
}

#[test]
fn several_servers_and_the_default_one() -> Checked {
    let _dog = watchdog();
    let load = |n: u64| n;
    let servers = (0..4).map(|n| ForkServer::builder().preload(load, (n,)).build()).collect::<Result<Vec<_>, _>>()?;
    let plain = ForkServer::builder().build()?;
    let find = || preloaded::<u64>().copied();
    std::thread::scope(|scope| {
        for (server, n) in servers.iter().zip(0..) {
            scope.spawn(move || (0..20).for_each(|_| assert_eq!(in_child(server, find).unwrap(), Some(n))));
        }
        scope.spawn(|| (0..20).for_each(|_| assert_eq!(in_child(&plain, find).unwrap(), None)));
        (0..20).for_each(|_| assert_eq!(Process::spawn(find, ()).unwrap().join().unwrap(), None));
    });
    let pids: Vec<_> = servers.iter().map(|server| ProcessId::of(server.pid().unwrap()).unwrap()).collect();
    // Its children go on when it ends.
    let (reader, writer) = std::io::pipe()?;
    let wait = |until: Fd| {
        let _ = std::io::read_to_string(File::from(until.0));
        preloaded::<u64>().copied()
    };
    let child = Process::builder().fork_server(&servers[3]).spawn(wait, (Fd::from(OwnedFd::from(reader)),))?;
    drop(servers);
    assert!(!pids.iter().any(ProcessId::is_alive));
    drop(writer);
    assert_eq!(child.join()?, Some(3));
    Ok(())
}

/// Each generation of a server has another number: that of its process.
fn generation() -> u32 {
    std::process::id()
}

fn find_generation() -> u32 {
    *preloaded::<u32>().unwrap()
}

#[test]
fn a_killed_server_is_replaced_with_what_it_loads() -> Checked {
    let _dog = watchdog();
    let server = ForkServer::builder().preload(generation, ()).build()?;
    for n_starts in 0..6 {
        let pid = server.pid().unwrap();
        for _ in 0..n_starts {
            assert_eq!(in_child(&server, find_generation)?, pid);
        }
        let id = ProcessId::of(pid).unwrap();
        kill(pid);
        while id.is_alive() {
            std::thread::yield_now();
        }
        // More than there were spares of the killed one.
        let found = (0..4).map(|_| in_child(&server, find_generation)).collect::<Result<Vec<_>, _>>()?;
        let fresh = server.pid().unwrap();
        assert_ne!(fresh, pid);
        assert!(found.iter().all(|found| [pid, fresh].contains(found)) && found[3] == fresh, "{found:?}");
    }
    Ok(())
}

fn kill(pid: u32) {
    // SAFETY: sends a signal; the process is a child of ours that is not reaped, as whoever calls this says.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

/// A server that is killed while it loads, by its loader's own hand or from outside, loads again; three times at most.
#[test]
fn a_load_that_is_killed_begins_again() -> Checked {
    let _dog = watchdog();
    fn die_first(left: Fd) -> u64 {
        // There is a byte in the pipe for each death.
        let mut byte = [0];
        match File::from(left.0).read(&mut byte) {
            Ok(1) => {
                kill(std::process::id());
                unreachable!("a process that is killed does not go on")
            }
            _ => 7,
        }
    }
    for n_deaths in [1, 2, 3] {
        let (reader, mut writer) = std::io::pipe()?;
        writer.write_all(&vec![0; n_deaths])?;
        drop(writer);
        let built = ForkServer::builder().preload(die_first, (Fd::from(OwnedFd::from(reader)),)).build();
        match (n_deaths, built) {
            (1 | 2, Ok(server)) => assert_eq!(in_child(&server, || preloaded::<u64>().copied())?, Some(7)),
            (3, Err(ProcessError::Preload(PreloadError::Ended(e)))) => {
                assert!(matches!(*e, ProcessError::Signaled { signal: libc::SIGKILL, .. }), "{e:?}");
            }
            (_, other) => panic!("{n_deaths} {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn reload_under_starts() -> Checked {
    let _dog = watchdog();
    let server = ForkServer::builder().preload(generation, ()).build()?;
    let is_over = AtomicBool::new(false);
    let n_starts = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let start = || {
            while !is_over.load(Relaxed) {
                assert_ne!(in_child(&server, find_generation).unwrap(), 0);
                n_starts.fetch_add(1, Relaxed);
            }
        };
        scope.spawn(start);
        scope.spawn(start);
        for _ in 0..10 {
            let before = server.pid().unwrap();
            server.reload().unwrap();
            let now = server.pid().unwrap();
            assert_ne!(now, before);
            assert_eq!(in_child(&server, find_generation).unwrap(), now);
            let seen = n_starts.load(Relaxed);
            while n_starts.load(Relaxed) == seen {
                std::thread::yield_now();
            }
        }
        is_over.store(true, Relaxed);
    });
    // One that fails leaves the server as it was.
    let (reader, writer) = std::io::pipe()?;
    let once = |token: Fd| assert_eq!(File::from(token.0).read(&mut [0]).unwrap(), 1);
    File::from(OwnedFd::from(writer)).write_all(&[0])?;
    let server = ForkServer::builder().preload(once, (Fd::from(OwnedFd::from(reader)),)).build()?;
    let pid = server.pid();
    assert!(matches!(server.reload(), Err(ProcessError::Preload(PreloadError::Ended(_)))));
    assert_eq!(server.pid(), pid);
    in_child(&server, || ())?;
    Ok(())
}

/// The server, and whoever takes its place, is killed anywhere in its life: idle, forking, in the middle of its load.
#[test]
fn stress_servers_killed_during_starts_and_loads() -> Checked {
    let _dog = watchdog();
    fn load_a_little() -> Model {
        load(1)
    }
    fn storm(n_starts: u64) -> (u64, u64, u64, usize) {
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        static N_KILLED: AtomicU64 = AtomicU64::new(0);
        let ran = Shared::new(AtomicU64::new(0)).unwrap();
        let server = ForkServer::builder().preload(load_a_little, ()).build().unwrap();
        let killer = std::thread::spawn(|| {
            let mut random = 1_u32;
            while !IS_OVER.load(Relaxed) {
                for pid in fork_servers() {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    N_KILLED.fetch_add(u64::from(kill_after(pid, random >> 14)), Relaxed);
                }
            }
        });
        let (mut n_succeeded, mut n_lost) = (0, 0);
        for _ in 0..n_starts {
            let run = |ran: Shared<AtomicU64>| {
                assert_eq!(preloaded::<Model>().unwrap().texts.len(), 3 * 1024);
                ran.fetch_add(1, Relaxed);
            };
            match Process::builder().fork_server(&server).spawn(run, (ran.clone(),)).and_then(Process::join) {
                Ok(()) => n_succeeded += 1,
                // The killer looks for servers, and a child still bears its server's name at first.
                Err(ProcessError::Signaled { signal: libc::SIGKILL, .. } | ProcessError::LauncherLost) => n_lost += 1,
                Err(ProcessError::Preload(PreloadError::Ended(e))) => {
                    assert!(matches!(*e, ProcessError::Signaled { signal: libc::SIGKILL, .. }), "{e:?}");
                    n_lost += 1;
                }
                Err(e) => panic!("{e:?}"),
            }
        }
        IS_OVER.store(true, Relaxed);
        killer.join().unwrap();
        println!("{n_succeeded} starts, {} servers killed, {n_lost} starts lost", N_KILLED.load(Relaxed));
        // The next start works, but for spares that have their last kill still to come, and nobody is left over.
        assert!((0..4).any(|_| in_child(&server, || ()).is_ok()));
        drop(server);
        assert!(proc_core::active_children().is_empty());
        (n_succeeded, n_lost, ran.load(Relaxed), fork_servers().len() + zombies())
    }
    let (n_succeeded, n_lost, ran, n_left) = Process::spawn(storm, (100,))?.join()?;
    assert_eq!(n_succeeded + n_lost, 100);
    assert!((n_succeeded..=100).contains(&ran) && n_succeeded > 0, "{n_succeeded} {ran}");
    assert_eq!(n_left, 0);
    Ok(())
}
