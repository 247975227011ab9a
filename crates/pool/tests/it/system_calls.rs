//! `SYSTEM_CALLS.md` names all that is needed: a program that may make no other call does everything.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio, thread, time::Duration};

use ipc::{Array, Client, JoinableQueue, Listener, Manager, Queue, Value, pipe};
use pool::{ProcessPool, TaskError};
use proc_core::{
    Process, ProcessError, Signal, StartMethod,
    command::{Popen, run},
    handover::Fd,
    shm::SharedMemory,
    wait_any,
};
use test_support::{sandbox, watchdog};

const LIMIT: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(5);

fn double(n: u64) -> u64 {
    n * 2
}

fn hang() {
    loop {
        thread::park();
    }
}

fn work_on(
    queue: Queue<u64>,
    joinable: JoinableQueue<u64>,
    lock: sync::process::Lock<u64>,
    ready: sync::process::Event,
) {
    ready.set();
    while let Ok(n) = queue.get() {
        *lock.lock().unwrap() += n;
    }
    while let Ok(item) = joinable.get() {
        *lock.lock().unwrap() += *item;
        item.task_done();
    }
}

fn processes() {
    // Before there are threads.
    assert_eq!(Process::fork(|| 5).unwrap().join().unwrap(), 5);
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for n in 0..3 {
            let process = Process::builder().start_method(method).name("some").nice(1).current_dir("/");
            assert_eq!(process.spawn(double, (n,)).unwrap().join().unwrap(), n * 2);
        }
        let process = Process::builder().start_method(method).spawn(hang, ()).unwrap();
        assert!(process.wait_timeout(SHORT).unwrap().is_none());
        process.kill().unwrap();
        assert!(matches!(process.join(), Err(ProcessError::Signaled { .. })));
        let panicking: Process<()> = Process::builder().start_method(method).spawn(|| panic!("told"), ()).unwrap();
        assert!(matches!(panicking.join(), Err(ProcessError::Panicked { .. })));
    }
    let streams = Process::builder().stdout(Stdio::null()).stderr(Stdio::null());
    streams.spawn(|| println!("nothing"), ()).unwrap().join().unwrap();
    assert_eq!(run(["echo", "text"]).unwrap().stdout, b"text\n");
    let cat = Popen::builder(["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group().spawn().unwrap();
    assert_eq!(cat.communicate("text", None).unwrap().stdout, b"text");
    let sleeper = Popen::builder(["sleep", "1000"]).process_group().spawn().unwrap();
    assert!(sleeper.stop(LIMIT).is_ok());
    proc_core::thread::spawn(|| 1).join().unwrap();
    assert!(proc_core::active_children().is_empty());
    let deaf = Popen::builder(["true"]).stdin(Stdio::piped()).spawn().unwrap();
    assert!(deaf.communicate(vec![b'x'; 1 << 20], None).unwrap().status.success());
    let polls = Process::spawn(|| pipe::<u64>().unwrap().0.poll(Some(20 * SHORT)).unwrap(), ()).unwrap();
    polls.signal(Signal::SIGSTOP).unwrap();
    polls.signal(Signal::SIGCONT).unwrap();
    assert!(!polls.join().unwrap());
    // The fork server ends for want of something to do.
    while nix::sys::wait::waitpid(None, None).is_ok() {}
}

fn messages(dir: &Path) {
    let (queue, joinable) = (Queue::new(2).unwrap(), JoinableQueue::new(2).unwrap());
    let lock = sync::process::Lock::new(0).unwrap();
    let ready = sync::process::Event::new().unwrap();
    let workers = [(); 2].map(|()| {
        let given = (queue.clone(), joinable.clone(), lock.clone(), ready.clone());
        Process::spawn(work_on, given).unwrap()
    });
    ready.wait().unwrap();
    (0..100).for_each(|n| queue.put(n).unwrap());
    queue.close();
    (0..100).for_each(|n| joinable.put(n).unwrap());
    joinable.join().unwrap();
    joinable.close();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(*lock.lock().unwrap(), 2 * 4950);
    assert!(Queue::<u64>::new(1).unwrap().get_timeout(SHORT).is_err());
    let large: Queue<Vec<u8>> = Queue::new(2).unwrap();
    large.put(vec![1; 1 << 20]).unwrap();
    assert_eq!(wait_any(&[&large], Some(LIMIT)).unwrap(), [0]);
    assert_eq!(large.get().unwrap().len(), 1 << 20);

    let (here, there) = pipe::<(Vec<u8>, Option<Fd>)>().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in [0, 100, 1 << 20] {
                let (bytes, fd) = there.recv().unwrap();
                assert_eq!((bytes.len(), fd.is_some()), (n, n == 100));
            }
            thread::sleep(SHORT);
            there.send(&(Vec::new(), None)).unwrap();
        });
        here.send(&(Vec::new(), None)).unwrap();
        let null: Fd = fs::File::open("/dev/null").unwrap().into();
        here.send(&(vec![0; 100], Some(null))).unwrap();
        here.send(&(vec![0; 1 << 20], None)).unwrap();
        assert_eq!(wait_any(&[&here], Some(LIMIT)).unwrap(), [0]);
        here.recv().unwrap();
    });
    assert!(!there.poll(Some(SHORT)).unwrap());
    drop(here);
    assert!(there.recv().is_err());

    let path = dir.join("socket");
    let listener = Listener::<u64>::bind(&path).unwrap().allow(ipc::Peers::Anyone).unwrap();
    assert!(listener.accept_timeout(SHORT).unwrap().is_none());
    thread::scope(|scope| {
        let client = scope.spawn(|| Client::connect_timeout::<u64>(&path, LIMIT).unwrap().send(&5).unwrap());
        assert_eq!(listener.accept().unwrap().recv().unwrap(), 5);
        client.join().unwrap();
    });
    let value = Value::new(5_u64).unwrap();
    value.set(value.get() + 1);
    assert_eq!(Array::from_slice(&[1_u8; 64]).unwrap().to_vec(), [1; 64]);
    let name = format!("pool-calls-{}", std::process::id());
    let memory = SharedMemory::create(&name, 4096).unwrap();
    assert_eq!(SharedMemory::open(&name).unwrap().len(), memory.len());
    let manager = Manager::new().unwrap();
    assert_eq!(manager.counter(5).unwrap().increment().unwrap(), 6);
}

fn locks() {
    let lock = sync::process::Lock::new(0).unwrap();
    let barrier = sync::process::Barrier::new(2).unwrap();
    let dies = |lock: sync::process::Lock<u64>, barrier: sync::process::Barrier| {
        barrier.wait().unwrap();
        std::mem::forget(lock.lock().unwrap());
        std::process::abort();
    };
    let process: Process<()> = Process::spawn(dies, (lock.clone(), barrier.clone())).unwrap();
    barrier.wait().unwrap();
    assert!(process.join().is_err());
    // Owned by the dead, or never taken.
    let _guard = lock.lock().unwrap_or_else(|e| e.into_inner());
    let other = thread::spawn({
        let lock = lock.clone();
        move || matches!(lock.lock_timeout(SHORT), Ok(None))
    });
    assert!(other.join().unwrap());
    let semaphore = sync::process::Semaphore::new(1).unwrap();
    let _permit = semaphore.acquire();
    let rw = sync::process::RwLock::new(1).unwrap();
    assert_eq!(*rw.read().unwrap(), 1);
    *rw.write().unwrap() = 2;
}

fn overflow(n: u64) -> u64 {
    let room = std::hint::black_box([n; 64]);
    if n == u64::MAX { 0 } else { overflow(n + 1) + room[7] }
}

fn pools() {
    let pool = ProcessPool::builder().workers(2).memory_limit(1 << 30).task_timeout(LIMIT).build().unwrap();
    assert_eq!(pool.map(double, 0..1000).unwrap().len(), 1000);
    let dies: pool::Task<()> = pool.apply_async(|| std::process::abort(), ());
    // By that, and not by a call of whatever tells of it.
    assert!(matches!(dies.get(), Err(TaskError::WorkerDied { signal: Some(6), crash: Some(_), .. })));
    let overflows = pool.apply_async(overflow, (0,));
    assert!(matches!(overflows.get(), Err(TaskError::WorkerDied { signal: Some(11), crash: Some(_), .. })));
    assert!(pool.apply(|| -> () { panic!("told") }, ()).is_err());
    pool.close();
    pool.join().unwrap();
    let late = ProcessPool::builder().workers(1).task_timeout(SHORT).build().unwrap();
    assert!(late.apply(hang, ()).is_err());
    late.terminate();
    let threads = pool::ThreadPool::new(2).unwrap();
    assert_eq!(threads.map(double, 0..100).unwrap().len(), 100);
}

/// In a process of its own, whose children inherit what it may do.
fn everything(dir: String, calls: Vec<i64>) {
    if !calls.is_empty() {
        sandbox::allow_only(&calls);
    }
    processes();
    messages(Path::new(&dir));
    locks();
    pools();
}

/// Calls by name, as the text has them.
macro_rules! numbers {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// All that the text may name; those of other architectures have other names.
const NUMBERS: &[(&str, i64)] = numbers! {
    SYS_accept4 SYS_access SYS_alarm SYS_arch_prctl SYS_bind SYS_brk SYS_chdir SYS_clock_gettime SYS_clock_nanosleep
    SYS_clone SYS_clone3 SYS_close SYS_close_range SYS_connect SYS_dup2 SYS_epoll_create1 SYS_epoll_ctl
    SYS_epoll_wait SYS_eventfd2 SYS_execve SYS_exit SYS_exit_group SYS_fadvise64 SYS_fallocate SYS_fchmod
    SYS_fchmodat2 SYS_fcntl SYS_fstatfs SYS_ftruncate SYS_futex SYS_futex_waitv SYS_get_robust_list SYS_getcwd
    SYS_getdents64 SYS_geteuid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid
    SYS_getresuid SYS_getsockopt SYS_gettid SYS_getuid SYS_ioctl SYS_linkat SYS_listen SYS_lseek SYS_madvise
    SYS_membarrier SYS_memfd_create SYS_mmap SYS_mprotect SYS_mremap SYS_munmap SYS_newfstatat SYS_openat
    SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2 SYS_poll SYS_ppoll SYS_prctl SYS_pread64 SYS_prlimit64
    SYS_pwrite64 SYS_read SYS_readlink SYS_readlinkat SYS_recvfrom SYS_recvmsg SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo
    SYS_sched_getaffinity SYS_sched_yield SYS_sendmsg SYS_sendto SYS_set_robust_list SYS_set_tid_address
    SYS_setpgid SYS_setpriority SYS_setsockopt SYS_shutdown SYS_sigaltstack SYS_socket SYS_socketpair
    SYS_statx SYS_tgkill SYS_unlink SYS_unlinkat SYS_wait4 SYS_waitid SYS_write
};

/// The names in the first column of the text's tables.
fn published() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../SYSTEM_CALLS.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    rows.flat_map(|names| names.split(['`', ',', ' ', '|'])).filter(|name| !name.is_empty()).map(Into::into).collect()
}

#[test]
fn the_published_calls_are_enough() {
    let _dog = watchdog(LIMIT);
    let published = published();
    let number = |name: &str| NUMBERS.iter().find(|(known, _)| known.strip_prefix("SYS_") == Some(name));
    let calls: Vec<i64> = published.iter().map(|name| number(name).unwrap_or_else(|| panic!("{name}")).1).collect();
    assert_eq!(calls.len(), NUMBERS.len(), "the test knows calls that the text does not name");
    let dir = std::env::temp_dir().join(format!("pool-calls-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let done = Process::spawn(everything, (dir.to_str().unwrap().to_owned(), calls)).unwrap().join();
    fs::remove_dir_all(&dir).unwrap();
    println!("{} calls", published.len());
    done.unwrap();
}

/// The test above can fail.
#[test]
fn a_call_that_is_not_named_ends_the_process() {
    let _dog = watchdog(LIMIT);
    fn make_a_value(calls: Vec<i64>) {
        sandbox::allow_only(&calls);
        drop(Value::new(1_u64));
    }
    let others = NUMBERS.iter().filter(|(name, _)| *name != "SYS_memfd_create").map(|(_, number)| *number);
    let ended = Process::spawn(make_a_value, (others.collect(),)).unwrap().join();
    assert!(matches!(ended, Err(ProcessError::Signaled { signal: libc::SIGSYS, .. })), "{ended:?}");
    let all = NUMBERS.iter().map(|(_, number)| *number);
    Process::spawn(make_a_value, (all.collect(),)).unwrap().join().unwrap();
}
