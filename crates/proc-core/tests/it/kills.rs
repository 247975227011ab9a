//! `kill -9` anything, any time.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use kernel::identity::ProcessId;
use proc_core::{
    Process, ProcessError, Signal, StartMethod,
    handover::Fd,
    shm::{Shared, SharedMemory},
};
use serde::{Deserialize, Serialize};

use crate::{METHODS, watchdog, zombies};

#[derive(Serialize, Deserialize, Clone, Copy)]
enum Method {
    ForkServer,
    Spawn,
    Fork,
}

impl Method {
    const ALL: [Self; 3] = [Self::ForkServer, Self::Spawn, Self::Fork];

    fn start_method(self) -> StartMethod {
        match self {
            Self::ForkServer => StartMethod::ForkServer,
            Self::Spawn => StartMethod::Spawn,
            Self::Fork => StartMethod::Fork,
        }
    }
}

/// Tells its pid, starts `depth` generations below it, and waits to be killed.
fn ancestor(method: Method, depth: u32, told: Fd) {
    // In one write: the others write to the same pipe.
    File::from(told.0.try_clone().unwrap()).write_all(format!("{}\n", std::process::id()).as_bytes()).unwrap();
    if depth > 0 {
        let copy = || Fd::from(told.0.try_clone().unwrap());
        let builder = move || Process::builder().start_method(method.start_method());
        // PR_SET_PDEATHSIG would kill these when the thread that started them ends.
        if !matches!(method, Method::Fork) {
            let fd = copy();
            std::thread::spawn(move || drop(builder().spawn(ancestor, (method, 0, fd)).unwrap())).join().unwrap();
        }
        drop(builder().spawn(ancestor, (method, depth - 1, copy())).unwrap());
    }
    drop(told);
    loop {
        std::thread::park();
    }
}

#[test]
fn an_owner_takes_all_its_descendants_along() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    for method in Method::ALL {
        let (reader, writer) = std::io::pipe()?;
        let owner = Process::builder().daemon(true).spawn(ancestor, (method, 3, writer.into()))?;
        let n_expected = if matches!(method, Method::Fork) { 4 } else { 7 };
        let mut lines = BufReader::new(reader).lines();
        let told: Vec<u32> = lines.by_ref().take(n_expected).map(|line| line.unwrap().parse().unwrap()).collect();
        let family: Vec<_> = told.iter().map(|pid| ProcessId::of(*pid).unwrap()).collect();
        assert!(family.iter().all(ProcessId::is_alive));
        let begun = std::time::Instant::now();
        owner.kill()?;
        // The pipe ends when the last of them is gone.
        assert!(lines.next().is_none());
        while family.iter().any(ProcessId::is_alive) {
            std::thread::yield_now();
        }
        println!("{} processes gone {:?} after their owner", family.len(), begun.elapsed());
        assert!(matches!(owner.join(), Err(ProcessError::Signaled { signal: libc::SIGKILL, .. })));
    }
    Ok(())
}

/// Through a descriptor: by the time of the kill the pid may be another's.
pub(crate) fn kill_after(pid: u32, n_spins: u32) -> bool {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 || !fork_servers().contains(&pid) {
        return false;
    }
    for _ in 0..n_spins {
        std::hint::spin_loop();
    }
    // SAFETY: a null siginfo means "as kill(2) does".
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, std::ptr::null::<u8>(), 0) };
    // SAFETY: opened above.
    unsafe { libc::close(fd as i32) };
    sent == 0
}

pub(crate) fn fork_servers() -> Vec<u32> {
    let me = std::process::id();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let children = threads.flat_map(|thread| {
        let list = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
        list.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()).collect::<Vec<_>>()
    });
    let named = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        *pid != me && name.starts_with("forkserver-")
    };
    children.filter(named).collect()
}

/// Every start is answered, and every answer is true: what was reported as started ran, once.
#[test]
fn a_fork_server_killed_during_starts() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn storm(n_starts: u64) -> (u64, u64, u64, usize) {
        static OVER: AtomicBool = AtomicBool::new(false);
        static KILLED: AtomicU32 = AtomicU32::new(0);
        let ran = Shared::new(AtomicU64::new(0)).unwrap();
        let killer = std::thread::spawn(|| {
            let mut random = 1_u32;
            while !OVER.load(Relaxed) {
                for pid in fork_servers() {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Anywhere in its life: it is being executed, or idle, or in the middle of a start.
                    KILLED.fetch_add(u32::from(kill_after(pid, random >> 17)), Relaxed);
                }
            }
        });
        let (mut succeeded, mut lost) = (0, 0);
        for _ in 0..n_starts {
            match Process::spawn(
                |ran: Shared<AtomicU64>| {
                    ran.fetch_add(1, Relaxed);
                },
                (ran.clone(),),
            ) {
                Ok(process) => match process.join() {
                    Ok(()) => succeeded += 1,
                    // The killer looks for servers, and a child still bears its server's name at first.
                    Err(ProcessError::Signaled { .. }) => lost += 1,
                    Err(e) => panic!("{e}"),
                },
                Err(ProcessError::LauncherLost) => lost += 1,
                Err(e) => panic!("{e}"),
            }
        }
        OVER.store(true, Relaxed);
        killer.join().unwrap();
        println!("{succeeded} starts, {} fork servers killed, {lost} starts lost", KILLED.load(Relaxed));
        // The next start works, but for spares that have their last kill still to come, and nobody is left over.
        assert!((0..3).any(|_| Process::spawn(|| (), ()).unwrap().join().is_ok()));
        assert!(proc_core::active_children().is_empty());
        (succeeded, lost, ran.load(Relaxed), zombies())
    }
    let (succeeded, lost, ran, n_zombies) = Process::spawn(storm, (1_000,))?.join()?;
    assert_eq!(succeeded + lost, 1_000);
    // A child that was killed may have run before that.
    assert!((succeeded..=succeeded + lost).contains(&ran), "{succeeded} succeeded, {lost} lost, {ran} ran");
    // How many are lost depends on how soon the killer finds each server.
    assert!(succeeded > 100, "{succeeded}");
    assert_eq!(n_zombies, 0);
    Ok(())
}

#[test]
fn a_stopped_fork_server_is_replaced() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn stopped() -> (u32, bool) {
        Process::spawn(|| (), ()).unwrap().join().unwrap();
        let stopped = fork_servers()[0];
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(stopped as i32), Signal::SIGSTOP).unwrap();
        // More than it keeps spares.
        let sum = (0..4).map(|_| Process::spawn(|| 5, ()).unwrap().join().unwrap()).sum();
        (sum, fork_servers().contains(&stopped))
    }
    assert_eq!(Process::spawn(stopped, ())?.join()?, (20, false));
    Ok(())
}

/// A control group of the old freezer; thawed and removed in the end.
struct Freezer(std::path::PathBuf);

impl Freezer {
    /// `None` where there is none, or this user may not.
    fn new() -> Option<Self> {
        let path = std::path::Path::new("/sys/fs/cgroup/freezer").join(format!("proc-core-{}", std::process::id()));
        std::fs::create_dir(&path).ok().map(|()| Self(path))
    }

    fn freeze(&self, pid: i32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
        std::fs::write(self.0.join("freezer.state"), "FROZEN").unwrap();
        while std::fs::read_to_string(self.0.join("freezer.state")).unwrap().trim() != "FROZEN" {
            std::thread::yield_now();
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
        // It was killed while it was frozen.
        while std::fs::read_to_string(self.0.join("cgroup.procs")).is_ok_and(|members| !members.is_empty()) {
            proc_core::active_children();
            std::thread::yield_now();
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_frozen_fork_server_is_replaced() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn frozen() -> Option<u32> {
        Process::spawn(|| (), ()).unwrap().join().unwrap();
        let freezer = Freezer::new()?;
        let server = test_support::processes::children(std::process::id().cast_signed())[0];
        freezer.freeze(server);
        // More than it keeps spares.
        Some((0..5).map(|_| Process::spawn(|| 5, ()).unwrap().join().unwrap()).sum())
    }
    match Process::spawn(frozen, ())?.join()? {
        Some(sum) => assert_eq!(sum, 25),
        None => println!("skipped: no freezer here, or not root"),
    }
    Ok(())
}

#[test]
fn children_killed_at_random_moments() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn storm(n: u32) -> (u32, u32, usize, usize) {
        let n_open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        Process::spawn(|| (), ()).unwrap().join().unwrap();
        let (n_open_before, mut random, mut killed, mut finished) = (n_open(), 7_u32, 0, 0);
        for _ in 0..n {
            let process = Process::spawn(|n: u32| (0..n).map(u64::from).sum::<u64>(), (100_000,)).unwrap();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for _ in 0..random >> 16 {
                std::hint::spin_loop();
            }
            process.kill().unwrap();
            match process.join() {
                Err(ProcessError::Signaled { signal: libc::SIGKILL, .. }) => killed += 1,
                Ok(4_999_950_000) => finished += 1,
                other => panic!("{other:?}"),
            }
        }
        (killed, finished, n_open() - n_open_before, zombies())
    }
    let (killed, finished, n_leaked, n_zombies) = Process::spawn(storm, (1_000,))?.join()?;
    println!("{killed} killed, {finished} finished before");
    assert_eq!((killed + finished, n_leaked, n_zombies), (1_000, 0, 0));
    assert!(killed > 0);
    Ok(())
}

#[test]
fn stopped_and_continued() -> Result<(), ProcessError> {
    let _dog = watchdog();
    for method in METHODS {
        let (reader, writer) = std::io::pipe().unwrap();
        let process = Process::builder()
            .start_method(method)
            .spawn(|reader: Fd| std::io::read_to_string(File::from(reader.0)).unwrap().len(), (reader.into(),))?;
        process.signal(Signal::SIGSTOP)?;
        drop(writer);
        assert_eq!(process.wait_timeout(Duration::from_millis(30))?, None);
        assert!(process.is_alive());
        process.signal(Signal::SIGCONT)?;
        assert_eq!(process.join()?, 0);
    }
    Ok(())
}

/// A raw clone leaves the C library's thread id stale and its robust list unregistered: a lock whose holder dies then
/// stays locked for ever, unless the launcher mends both.
#[test]
fn a_dead_holder_of_a_robust_mutex_is_noticed() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    fn die_holding(memory: SharedMemory) {
        // SAFETY: the mutex was initialised by the parent.
        assert_eq!(unsafe { libc::pthread_mutex_lock(memory.as_ptr().cast().as_ptr()) }, 0);
        // SAFETY: raising a signal; with a stale thread id the C library would send it to another process.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    fn by_every_method() {
        for method in Method::ALL {
            let memory = SharedMemory::new(4096).unwrap();
            let mutex: *mut libc::pthread_mutex_t = memory.as_ptr().cast().as_ptr();
            // SAFETY: an attribute object is plain data until it is initialised.
            let mut attributes: libc::pthread_mutexattr_t = unsafe { std::mem::zeroed() };
            // SAFETY: as the manual says.
            let codes = unsafe {
                [
                    libc::pthread_mutexattr_init(&raw mut attributes),
                    libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED),
                    libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST),
                    libc::pthread_mutex_init(mutex, &raw const attributes),
                ]
            };
            assert_eq!(codes, [0; 4]);
            let holder = Process::builder().start_method(method.start_method());
            let holder = holder.spawn(die_holding, (memory.clone(),)).unwrap();
            assert!(matches!(holder.join(), Err(ProcessError::Signaled { signal: libc::SIGKILL, .. })));
            // SAFETY: initialised above.
            assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, libc::EOWNERDEAD, "{:?}", method.start_method());
        }
    }
    Process::spawn(by_every_method, ())?.join()?;
    Ok(())
}

/// Owners that are killed while their children, idle ones too, are stopped at any moment of their beginning: a stopped child
/// ties itself to nobody, so it must have been tied before it ran.
#[test]
fn stopped_children_do_not_outlive_their_owner() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    const OWNERS: u32 = 60;
    fn start_for_ever(method: Method, told: Fd) {
        File::from(told.0).write_all(b"x").unwrap();
        loop {
            let _ = Process::builder().start_method(method.start_method()).spawn(|| (), ()).map(Process::join);
        }
    }
    let children_of = |pid: u32| test_support::processes::children(pid.cast_signed());
    // Not yet executed, it is a copy of its owner that is in the middle of a system call of the owner's.
    let is_executed = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        // Its owner has the marker of a server there.
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"PROC_CORE_ENTRY=child:"))
    };
    let (mut random, mut n_stopped) = (5_u32, 0);
    for at in 0..OWNERS {
        let method = if at % 3 == 0 { Method::Spawn } else { Method::ForkServer };
        let (mut reader, writer) = std::io::pipe()?;
        let owner = Process::spawn(start_for_ever, (method, writer.into()))?;
        std::io::Read::read_exact(&mut reader, &mut [0])?;
        let (mut stopped, mut seen) = (Vec::new(), Vec::new());
        let server = || children_of(owner.pid()).first().copied().filter(|_| matches!(method, Method::ForkServer));
        for _ in 0..200 {
            for pid in children_of(owner.pid()) {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if seen.contains(&pid) || random >> 30 != 0 || server() == Some(pid) {
                    continue;
                }
                if matches!(method, Method::Spawn) && !is_executed(pid) {
                    continue;
                }
                seen.push(pid);
                // SAFETY: takes two integers.
                let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
                if fd < 0 {
                    continue;
                }
                // SAFETY: the kernel just made this descriptor for us.
                let fd: OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(fd as i32) };
                // It may be another's child by now, with the same pid.
                if children_of(owner.pid()).contains(&pid) {
                    signal_pidfd(&fd, libc::SIGSTOP);
                    stopped.push(fd);
                }
            }
        }
        n_stopped += stopped.len();
        // In the middle of making one, it has not tied that one yet.
        while server().is_some_and(|server| !test_support::processes::is_asleep(server)) {
            std::thread::yield_now();
        }
        owner.kill()?;
        assert!(matches!(owner.join(), Err(ProcessError::Signaled { signal: libc::SIGKILL, .. })));
        for fd in stopped {
            let mut poll = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLIN)];
            let has_ended = nix::poll::poll(&mut poll, 20_000_u16)? == 1;
            signal_pidfd(&fd, libc::SIGKILL);
            assert!(has_ended, "a stopped child of owner {at}, by {:?}, outlives it", method.start_method());
        }
    }
    println!("{OWNERS} owners killed, {n_stopped} of their children stopped before, none outlived its owner");
    assert!(n_stopped > 0);
    Ok(())
}

fn signal_pidfd(fd: &OwnedFd, signal: i32) {
    // SAFETY: a null siginfo means "as kill(2) does".
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0) };
}
