//! Who is dead, asked and answered under the conditions of real hosts. Most of them need root.

use std::{
    fs, io,
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::Duration,
};

use kernel::{
    futex::{self, Deadline},
    identity::ProcessId,
    liveness::{Membership, Participant, Register, RegisterWords, Verdict, Witness},
};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::{set_child_subreaper, set_pdeathsig},
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{ForkResult, Pid, execv, fork},
};
use proc_core::shm::Shared;
use test_support::{hosts, sandbox};

/// A handle of a segment that has nothing but a register.
struct Handle {
    words: Shared<RegisterWords>,
    here: Membership,
}

impl Handle {
    fn new() -> Self {
        Self::of(&Shared::new(RegisterWords::default()).unwrap())
    }

    fn of(words: &Shared<RegisterWords>) -> Self {
        Self { here: Membership::new(words.memory().as_fd()).unwrap(), words: words.clone() }
    }

    fn register(&self) -> Register<'_> {
        Register::new(self.words.memory().as_fd(), &self.words, &self.here)
    }

    fn enter(&self) -> Participant {
        self.register().me()
    }

    fn verdict(&self, participant: Participant) -> Verdict {
        self.register().verdict(participant)
    }
}

/// A word that one process tells another.
#[derive(Clone)]
struct Told {
    is_told: Shared<AtomicU32>,
    word: Shared<AtomicU64>,
}

impl Told {
    fn new() -> Self {
        Self { is_told: Shared::new(AtomicU32::new(0)).unwrap(), word: Shared::new(AtomicU64::new(0)).unwrap() }
    }

    fn tell(&self, word: u64) {
        self.word.store(word, Release);
        self.is_told.store(1, Release);
        futex::wake(&self.is_told, 1);
    }

    fn wait(&self, check: impl Fn()) -> u64 {
        while self.is_told.load(Acquire) == 0 {
            check();
            futex::wait(&self.is_told, 0, Deadline::after(Duration::from_millis(50)));
        }
        self.word.load(Acquire)
    }
}

/// A forked child that tells a word.
struct Child {
    pid: Pid,
    told: Told,
}

fn child(body: impl FnOnce(&Told)) -> Child {
    let told = Told::new();
    // SAFETY: the child goes on with `body`, which uses nothing that other threads hold.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => Child { pid: child, told },
        ForkResult::Child => {
            set_pdeathsig(Signal::SIGKILL).unwrap();
            let ended = catch_unwind(AssertUnwindSafe(|| body(&told)));
            // SAFETY: ends the process, without what its parent registered to run at the end.
            unsafe { libc::_exit(if ended.is_ok() { 0 } else { 101 }) }
        }
    }
}

fn stay() -> ! {
    loop {
        thread::park();
    }
}

impl Child {
    /// What the child tells; fails if it ends before.
    fn told(&self) -> u64 {
        self.told.wait(|| {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            let state = waitid(Id::Pid(self.pid), flags).unwrap();
            let is_told = self.told.is_told.load(Acquire) != 0;
            assert!(is_told || state == WaitStatus::StillAlive, "a child ended in silence: {state:?}");
        })
    }

    fn participant(&self) -> Participant {
        Participant::from_word(self.told()).unwrap()
    }

    fn kill(&self) {
        kill(self.pid, Signal::SIGKILL).unwrap();
    }

    /// Waits until it has ended, and leaves the zombie.
    fn ended(&self) {
        waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }

    fn kill_and_reap(self) {
        self.kill();
        waitpid(self.pid, None).unwrap();
    }
}

/// One whose life is asked about.
struct Subject {
    name: &'static str,
    participant: Participant,
    is_alive: bool,
    witness: Witness,
    /// Whether everybody who asks is in another pid namespace.
    is_elsewhere: bool,
    child: Option<Child>,
    frozen: Option<Frozen>,
}

impl Subject {
    fn living(name: &'static str, child: Child) -> Self {
        let participant = child.participant();
        let child = Some(child);
        Self { name, participant, is_alive: true, witness: Witness::Lock, is_elsewhere: false, child, frozen: None }
    }

    /// One that has told its name and does not live any more, or is about to end.
    fn dead(name: &'static str, child: Child) -> Self {
        let mut dead = Self::living(name, child);
        dead.is_alive = false;
        dead
    }

    fn killed(name: &'static str, child: Child) -> Self {
        let mut killed = Self::dead(name, child);
        killed.child.take().unwrap().kill_and_reap();
        killed
    }

    fn with_pid_only(mut self) -> Self {
        self.witness = Witness::Pid;
        self
    }

    fn expected(&self, is_elsewhere: bool) -> Verdict {
        match (self.witness, self.is_alive) {
            (Witness::Pid, _) if is_elsewhere || self.is_elsewhere => Verdict::Unknown,
            (_, true) => Verdict::Alive,
            (_, false) => Verdict::Dead,
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        drop(self.frozen.take());
        if let Some(child) = &self.child {
            let _ = kill(child.pid, Signal::SIGKILL);
            let _ = waitpid(child.pid, None);
        }
    }
}

/// Frozen by a cgroup, until dropped.
struct Frozen(PathBuf);

impl Frozen {
    fn new(pid: Pid) -> io::Result<Self> {
        let (v1, v2) = (PathBuf::from("/sys/fs/cgroup/freezer"), PathBuf::from("/sys/fs/cgroup"));
        let group = if v1.exists() { v1 } else { v2 }.join(format!("proc-core-{}", std::process::id()));
        fs::create_dir(&group)?;
        let frozen = Self(group);
        fs::write(frozen.0.join("cgroup.procs"), pid.to_string())?;
        frozen.set(true)?;
        while !frozen.is_frozen()? {
            thread::yield_now();
        }
        Ok(frozen)
    }

    fn is_v1(&self) -> bool {
        self.0.join("freezer.state").exists()
    }

    fn set(&self, frozen: bool) -> io::Result<()> {
        match (self.is_v1(), frozen) {
            (true, true) => fs::write(self.0.join("freezer.state"), "FROZEN"),
            (true, false) => fs::write(self.0.join("freezer.state"), "THAWED"),
            (false, frozen) => fs::write(self.0.join("cgroup.freeze"), u8::from(frozen).to_string()),
        }
    }

    fn is_frozen(&self) -> io::Result<bool> {
        if self.is_v1() {
            return Ok(fs::read_to_string(self.0.join("freezer.state"))?.trim() == "FROZEN");
        }
        Ok(fs::read_to_string(self.0.join("cgroup.events"))?.contains("frozen 1"))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = self.set(false);
        let parent = self.0.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(&parent, pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn close_all_descriptors() {
    // SAFETY: this process uses none of them any more.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
}

/// Descriptors can be opened no more.
fn fill_descriptor_table() {
    setrlimit(Resource::RLIMIT_NOFILE, 0, 0).unwrap();
    assert!(fs::File::open("/dev/null").is_err());
}

/// A child that becomes `how` it is, enters, and lives on.
fn entered(handle: &Handle, how: impl FnOnce()) -> Child {
    child(|told| {
        how();
        told.tell(handle.enter().to_word());
        stay()
    })
}

/// A child that enters and tells so when it has become `how` it is.
fn entered_and(handle: &Handle, how: impl FnOnce()) -> Child {
    child(|told| {
        let me = handle.enter();
        how();
        told.tell(me.to_word());
        stay()
    })
}

/// A child that enters in a thread, which `how` it is, and ends.
fn entered_by_thread(handle: &Handle, how: impl FnOnce() + Send) -> Child {
    child(|told| {
        let enter = || {
            how();
            handle.enter()
        };
        let me = thread::scope(|s| s.spawn(enter).join()).unwrap();
        told.tell(me.to_word());
        stay()
    })
}

/// A child whose first thread has ended.
fn entered_without_first_thread(handle: &Handle) -> Child {
    child(|told| {
        let me = handle.enter();
        thread::scope(|s| {
            s.spawn(|| {
                while !fs::read_to_string("/proc/self/stat").unwrap().contains(") Z ") {
                    thread::yield_now();
                }
                told.tell(me.to_word());
                stay()
            });
            // SAFETY: ends this thread and nothing else; what others have borrowed of it stays where it is.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
    })
}

fn executed(handle: &Handle, flags: FdFlag) -> Child {
    let executed = child(|told| {
        fcntl(handle.words.memory().as_fd(), FcntlArg::F_SETFD(flags)).unwrap();
        told.tell(handle.enter().to_word());
        execv(c"/bin/sleep", &[c"sleep", c"3600"]).unwrap();
    });
    executed.told();
    while fs::read_to_string(format!("/proc/{}/comm", executed.pid)).unwrap().trim() != "sleep" {
        thread::yield_now();
    }
    executed
}

/// Everybody whose life can be asked about.
fn subjects(handle: &Handle) -> Vec<Subject> {
    let ordinary = || entered(handle, || ());
    let stopped = Subject::living("stopped", ordinary());
    let pid = stopped.child.as_ref().unwrap().pid;
    kill(pid, Signal::SIGSTOP).unwrap();
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    let zombie = Subject::dead("a zombie", ordinary());
    zombie.child.as_ref().unwrap().kill();
    zombie.child.as_ref().unwrap().ended();
    let ended = child(|told| told.tell(handle.enter().to_word()));
    ended.ended();
    // The child has its parent's descriptor, and all its memory but for the lock.
    let forked = Told::new();
    let forker = entered_and(handle, || {
        // SAFETY: one thread.
        if unsafe { fork() }.unwrap().is_child() {
            set_pdeathsig(None).unwrap();
            forked.tell(handle.enter().to_word());
            stay()
        }
        forked.wait(|| ());
    });
    let killed_forker = Subject::killed("killed, and a child that it forked lives", forker);
    let participant = Participant::from_word(forked.wait(|| ())).unwrap();
    let orphan = Child { pid: Pid::from_raw(participant.pid().cast_signed()), told: forked };
    let mut all = vec![
        Subject::living("ordinary", ordinary()),
        Subject::living("without descriptors", entered_and(handle, close_all_descriptors)),
        Subject::living("the thread that entered has ended", entered_by_thread(handle, || ())),
        Subject::living(
            "that thread had descriptors of its own",
            entered_by_thread(handle, || unshare(CloneFlags::CLONE_FILES).unwrap()),
        ),
        Subject::living("its first thread has ended", entered_without_first_thread(handle)),
        Subject::living("its descriptor table is full", entered(handle, fill_descriptor_table)).with_pid_only(),
        Subject::living("forked by one that was killed", orphan),
        stopped,
        killed_forker,
        zombie,
        Subject::dead("ended in order", ended),
        Subject::killed("killed", ordinary()),
        Subject::killed("killed with a full descriptor table", entered(handle, fill_descriptor_table)).with_pid_only(),
        Subject::dead("executed a program", executed(handle, FdFlag::FD_CLOEXEC)),
        Subject::dead("executed a program that has the descriptor", executed(handle, FdFlag::empty())),
    ];
    if hosts::is_root() {
        all.extend(subjects_of_root(handle));
    }
    all
}

fn subjects_of_root(handle: &Handle) -> Vec<Subject> {
    let elsewhere = |how: fn()| {
        child(|told| {
            hosts::new_pid_namespace();
            how();
            told.tell(handle.enter().to_word());
            stay()
        })
    };
    let mut in_other_namespace_and_root =
        Subject::living("in another pid namespace and an empty root", elsewhere(hosts::empty_root)).with_pid_only();
    in_other_namespace_and_root.is_elsewhere = true;
    let killed_elsewhere = Subject::killed("killed in another pid namespace", elsewhere(|| ()));
    // It is its parent that has been reaped; itself dies of that.
    while handle.verdict(killed_elsewhere.participant) == Verdict::Alive {
        thread::yield_now();
    }
    let mut all = vec![
        Subject::living("another user's", entered(handle, hosts::become_nobody)),
        Subject::living("under hidepid", entered(handle, hosts::hide_others)),
        Subject::living("in an empty root", entered(handle, hosts::empty_root)).with_pid_only(),
        Subject::living("in an empty root since it entered", entered_and(handle, hosts::empty_root)),
        Subject::killed("killed in an empty root", entered(handle, hosts::empty_root)).with_pid_only(),
        Subject::living("in another pid namespace", elsewhere(|| ())),
        in_other_namespace_and_root,
        killed_elsewhere,
    ];
    let mut frozen = Subject::living("frozen", entered(handle, || ()));
    match Frozen::new(frozen.child.as_ref().unwrap().pid) {
        Ok(group) => {
            frozen.frozen = Some(group);
            all.push(frozen);
        }
        Err(e) => println!("(nobody can be frozen here: {e})"),
    }
    all
}

/// Has a child do `how`, which calls what it is given, and fails unless the verdicts are then as they should be.
fn check(observer: &str, handle: &Handle, subjects: &[Subject], is_elsewhere: bool, how: impl FnOnce(&dyn Fn())) {
    let child = child(|told| {
        how(&|| {
            let wrong = |subject: &&Subject| {
                let (expected, verdict) = (subject.expected(is_elsewhere), handle.verdict(subject.participant));
                if verdict != expected {
                    println!("observer: {observer}; participant: {}; {verdict:?}, not {expected:?}", subject.name);
                }
                verdict != expected
            };
            told.tell(subjects.iter().filter(wrong).count() as u64 + 1);
        });
        stay()
    });
    assert_eq!(child.told() - 1, 0, "wrong verdicts");
    child.kill_and_reap();
    println!("observer: {observer}; right about {} participants", subjects.len());
}

/// The living are dead to nobody, and the dead are dead, whatever the conditions of both. Only of those who have nothing
/// but a pid nothing is known in another pid namespace.
pub(super) fn blind_is_not_dead() {
    set_child_subreaper(true).unwrap();
    let handle = Handle::new();
    let subjects = subjects(&handle);
    for subject in &subjects {
        assert_eq!(subject.participant.witness(), Some(subject.witness), "participant: {}", subject.name);
    }
    let check = |observer, how: fn()| {
        check(observer, &handle, &subjects, false, |look| {
            how();
            look();
        });
    };
    check("ordinary", || ());
    if !hosts::is_root() {
        return;
    }
    check("another user's", hosts::become_nobody);
    check("under hidepid", hosts::hide_others);
    check("beside an empty /proc", hosts::empty_proc);
    check("another user's in an empty root", || {
        hosts::empty_root();
        hosts::become_nobody();
    });
    for (observer, how) in [
        ("in another pid namespace", (|| ()) as fn()),
        ("in another pid namespace and an empty root", hosts::empty_root),
    ] {
        self::check(observer, &handle, &subjects, true, |look| {
            hosts::new_pid_namespace();
            how();
            look();
        });
    }
}

/// What a forked child has inherited is its parent's, and ends with the parent.
pub(super) fn a_forked_child_is_another_participant() {
    let mut handle = Some(Handle::new());
    let me = handle.as_ref().unwrap().enter();
    let child = child(|told| {
        let inherited = handle.take().unwrap();
        assert_eq!(inherited.register().me_if_entered(), None);
        assert_eq!(inherited.verdict(me), Verdict::Alive);
        assert_ne!(inherited.enter(), me);
        told.tell(inherited.enter().to_word());
        drop(inherited);
    });
    let (handle, theirs) = (handle.unwrap(), child.participant());
    child.ended();
    assert_eq!((handle.verdict(me), handle.verdict(theirs)), (Verdict::Alive, Verdict::Dead));
    child.kill_and_reap();
}

/// A child that is forked while others enter keeps nobody alive.
pub(super) fn forks_keep_nobody_alive() {
    const FORKS: usize = 300;
    let words = Shared::new(RegisterWords::default()).unwrap();
    let is_done = AtomicBool::new(false);
    let (children, entered) = thread::scope(|s| {
        let entering = s.spawn(|| {
            let mut entered = Vec::new();
            while !is_done.load(Relaxed) {
                entered.push(Handle::of(&words).enter());
            }
            entered
        });
        let children: Vec<_> = (0..FORKS).map(|_| child(|_| stay())).collect();
        is_done.store(true, Relaxed);
        (children, entering.join().unwrap())
    });
    let handle = Handle::of(&words);
    assert!(entered.iter().all(|participant| participant.witness() == Some(Witness::Lock)));
    assert_eq!(entered.iter().filter(|participant| handle.verdict(**participant) != Verdict::Dead).count(), 0);
    println!("{} entered beside {FORKS} forks", entered.len());
    children.into_iter().for_each(Child::kill_and_reap);
}

/// Whoever was killed at any moment and has been reaped is dead.
pub(super) fn stress_kills_while_entering() {
    const KILLS: u32 = 300;
    let words = Shared::new(RegisterWords::default()).unwrap();
    let handle = Handle::of(&words);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..KILLS {
        let latest = Told::new();
        let child = child(|told| {
            loop {
                let handle = Handle::of(&words);
                latest.word.store(handle.enter().to_word(), Release);
                told.tell(0);
            }
        });
        child.told();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (0..random % 20_000).for_each(|_| std::hint::spin_loop());
        child.kill_and_reap();
        let participant = Participant::from_word(latest.word.load(Acquire)).unwrap();
        assert_eq!((participant.witness(), handle.verdict(participant)), (Some(Witness::Lock), Verdict::Dead));
    }
}

pub(super) fn entering_keeps_no_descriptor() {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let handle = Handle::new();
    let before = open();
    handle.enter();
    handle.verdict(handle.enter());
    assert_eq!(open(), before);
}

/// Also by pid and start time, where that is all there is, who cannot be seen is not dead. In a pid namespace with the
/// `/proc` of another one, that shows somebody else under the pid.
pub(super) fn out_of_sight_is_not_dead() {
    if !hosts::is_root() {
        return;
    }
    for (name, how) in hosts::BLIND {
        let observer = child(|told| {
            // Both are in the namespace that `how` may lead to.
            how();
            let living = child(|told| {
                told.tell(ProcessId::current().to_word());
                stay()
            });
            let id = ProcessId::from_word(living.told());
            assert!(id.is_alive());
            living.kill_and_reap();
            assert!(!id.is_alive());
            told.tell(1);
            stay()
        });
        assert_eq!(observer.told(), 1, "{name}");
        observer.kill_and_reap();
    }
}

#[cfg(target_arch = "x86_64")]
const READLINK: i64 = libc::SYS_readlink;
#[cfg(not(target_arch = "x86_64"))]
const READLINK: i64 = libc::SYS_readlinkat;

/// What a sandbox denies makes nobody dead, and whoever it is denied to is found dead all the same.
pub(super) fn denied_calls_are_not_dead() {
    const DENIED: [(&str, &[i64]); 8] = [
        ("locks", &[libc::SYS_fcntl]),
        ("stat", &[libc::SYS_newfstatat, libc::SYS_fstat]),
        ("mappings", &[libc::SYS_mmap]),
        ("advice", &[libc::SYS_madvise]),
        ("files", &[libc::SYS_openat]),
        ("pidfds", &[libc::SYS_pidfd_open]),
        ("pidfds, files and links", &[libc::SYS_pidfd_open, libc::SYS_openat, libc::SYS_readlinkat, READLINK]),
        ("signals", &[libc::SYS_kill, libc::SYS_fcntl]),
    ];
    let handle = Handle::new();
    let (with_lock, with_pid) = (entered(&handle, || ()), entered(&handle, fill_descriptor_table));
    let living = [&with_lock, &with_pid].map(Child::participant);
    for (name, calls) in DENIED {
        let denied = entered(&handle, || {
            sandbox::deny(calls);
            for participant in living {
                assert_ne!(handle.verdict(participant), Verdict::Dead, "{name}");
            }
        });
        let participant = denied.participant();
        assert_ne!(handle.verdict(participant), Verdict::Dead, "{name}");
        denied.kill_and_reap();
        let is_known =
            handle.register().namespace_of(participant).is_some() || participant.witness() == Some(Witness::Lock);
        let expected = if is_known { Verdict::Dead } else { Verdict::Unknown };
        assert_eq!(handle.verdict(participant), expected, "{name}");
        println!("denied: {name}; {:?}, {expected:?} in the end", participant.witness().unwrap());
    }
    with_lock.kill_and_reap();
    with_pid.kill_and_reap();
}
