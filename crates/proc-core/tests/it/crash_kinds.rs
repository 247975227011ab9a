//! Crashes in libraries of C, in the hands of other handlers, and where the report itself cannot be made.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use proc_core::{CrashCause, CrashReport, Process, ProcessError, Resource, Target};

use crate::watchdog;

fn crash_of(target: impl Target<(), Output = ()>) -> (CrashReport, i32) {
    match Process::builder().stderr(Stdio::null()).spawn(target, ()).unwrap().join() {
        Err(ProcessError::Signaled { crash: Some(crash), signal, .. }) => (crash, signal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_rarer_signals() {
    let _dog = watchdog();
    fn read_behind_a_file() {
        let file = nix_memfd();
        // SAFETY: a new mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE, file, 0) };
        // SAFETY: not at all: the file has no byte.
        unsafe { page.cast::<u8>().read_volatile() };
    }
    let (crash, signal) = crash_of(read_behind_a_file);
    assert_eq!((crash.signal(), signal, crash.cause(), crash.code()), (libc::SIGBUS, signal, CrashCause::Fault, 2));
    assert_eq!(signal, libc::SIGBUS);
    assert!(crash.address().is_some_and(|address| address > 0 && address % 4096 == 0), "{crash}");
    assert!(is_named(&crash, "read_behind_a_file", "crash_kinds.rs"), "{crash}");

    #[cfg(target_arch = "x86_64")]
    {
        fn run_no_instruction() {
            // SAFETY: not at all.
            unsafe { std::arch::asm!("ud2") }
        }
        fn divide_by_zero() {
            // SAFETY: not at all.
            unsafe {
                std::arch::asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("eax") _, out("edx") _, out("ecx") _)
            }
        }
        for (crash, signal, function) in [
            (crash_of(run_no_instruction), libc::SIGILL, "run_no_instruction"),
            (crash_of(divide_by_zero), libc::SIGFPE, "divide_by_zero"),
        ] {
            assert_eq!(
                (crash.0.signal(), crash.1, crash.0.cause()),
                (signal, signal, CrashCause::Fault),
                "{}",
                crash.0
            );
            // That of the instruction.
            assert!(crash.0.address().is_some_and(|address| address > 4096), "{}", crash.0);
            assert!(is_named(&crash.0, function, "crash_kinds.rs"), "{}", crash.0);
        }
    }
}

fn nix_memfd() -> i32 {
    // SAFETY: a name that ends with a NUL.
    unsafe { libc::memfd_create(c"empty".as_ptr(), 0) }
}

fn is_named(crash: &CrashReport, function: &str, file: &str) -> bool {
    crash.frames().iter().any(|frame| {
        frame.function().is_some_and(|name| name.contains(function))
            && frame.file().is_some_and(|path| path.ends_with(file))
            && frame.line().is_some_and(|line| line > 1)
    })
}

const LIBRARY: &str = r#"
#include <signal.h>
#include <unistd.h>

static struct sigaction former;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)!write(2, "the library's handler\n", 22);
    former.sa_sigaction(signal, info, context);
}

void install(void) {
    struct sigaction action = {0};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &former);
}

__attribute__((noinline)) int parse_header(volatile int *header) {
    return *header + 1;
}

int parse_file(volatile int *header) {
    return parse_header(header) + 1;
}
"#;

/// A library of C, compiled with the compiler that links Rust's programs, without frame pointers.
fn library() -> &'static Path {
    static LIBRARY_PATH: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY_PATH.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-kinds-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let source = dir.join("parser.c");
        std::fs::write(&source, LIBRARY).unwrap();
        let library = dir.join("libparser.so");
        let flags = ["-shared", "-fPIC", "-g", "-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-o"];
        assert!(Command::new("cc").args(flags).arg(&library).arg(&source).status().unwrap().success());
        library
    })
}

fn symbol(library: &str, name: &std::ffi::CStr) -> *mut libc::c_void {
    let path = std::ffi::CString::new(library).unwrap();
    // SAFETY: loads a library that does nothing when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    // SAFETY: the library stays loaded.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!symbol.is_null());
    symbol
}

fn parse(library: String, is_handled: bool) {
    if is_handled {
        // SAFETY: the library's function takes and returns nothing.
        let install: extern "C" fn() = unsafe { std::mem::transmute(symbol(&library, c"install")) };
        install();
    }
    // SAFETY: that is what the library's function takes and returns.
    let parse: extern "C" fn(usize) -> i32 = unsafe { std::mem::transmute(symbol(&library, c"parse_file")) };
    std::hint::black_box(parse(16));
}

#[test]
fn functions_of_a_library_of_c_are_named() {
    let _dog = watchdog();
    for is_handled in [false, true] {
        let library = library().to_str().unwrap().to_owned();
        let process = Process::builder().stderr(Stdio::piped()).spawn(parse, (library, is_handled)).unwrap();
        let said = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        // Its own handler ran, and passed the signal on.
        assert_eq!(said.contains("the library's handler"), is_handled, "{said}");
        let error = process.join().unwrap_err();
        let ProcessError::Signaled { signal: libc::SIGSEGV, crash: Some(crash), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(crash.address(), Some(16));
        let names: Vec<_> = crash.frames().iter().filter_map(|frame| frame.function()).collect();
        let at = |wanted: &str| names.iter().position(|name| name.contains(wanted));
        assert!(at("parse_header").is_some() && at("parse_header") < at("parse_file"), "{crash}");
        assert!(at("parse_file") < at("crash_kinds::parse"), "{crash}");
        assert!(is_named(crash, "parse_header", "parser.c") && is_named(crash, "parse_file", "parser.c"), "{crash}");
        assert!(is_named(crash, "crash_kinds::parse", "crash_kinds.rs"), "{crash}");
    }
    let _ = std::fs::remove_dir_all(library().parent().unwrap());
}

/// With a report, if there is one without.
#[test]
fn core_dumps_still_happen() {
    let _dog = watchdog();
    fn crash() {
        // SAFETY: not at all.
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is this function's own.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) }, 0);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cores-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let has_dumped = |is_reported: bool| {
        let builder = Process::builder().limit(Resource::CoreDump, limit.rlim_max).current_dir(&dir);
        match builder.crash_report(is_reported).spawn(crash, ()).unwrap().join() {
            Err(ProcessError::Signaled { signal: libc::SIGSEGV, core_dumped, crash, .. }) => {
                assert_eq!(crash.is_some(), is_reported);
                core_dumped
            }
            other => panic!("{other:?}"),
        }
    };
    let (without, with) = (has_dumped(false), has_dumped(true));
    let _ = std::fs::remove_dir_all(&dir);
    assert_eq!(without, with);
    if !without {
        println!("no core dumps on this machine");
    }
}

/// A thread has the dynamic loader's lock for ever.
#[test]
fn a_crash_beside_the_loaders_lock() {
    let _dog = watchdog();
    unsafe extern "C" fn stay(_: *mut libc::dl_phdr_info, _: usize, told: *mut libc::c_void) -> i32 {
        // SAFETY: the barrier of `crash`.
        unsafe { &*told.cast::<std::sync::Barrier>() }.wait();
        loop {
            std::thread::park();
        }
    }
    fn crash() {
        static IS_LOCKED: OnceLock<std::sync::Barrier> = OnceLock::new();
        let is_locked = IS_LOCKED.get_or_init(|| std::sync::Barrier::new(2));
        std::thread::spawn(move || {
            // SAFETY: the barrier lives for ever.
            unsafe { libc::dl_iterate_phdr(Some(stay), std::ptr::from_ref(is_locked).cast_mut().cast()) }
        });
        is_locked.wait();
        // SAFETY: not at all.
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
    }
    for _ in 0..10 {
        let (crash, signal) = crash_of(crash);
        assert_eq!((crash.signal(), signal), (libc::SIGSEGV, libc::SIGSEGV));
        assert!(is_named(&crash, "crash_kinds", "crash_kinds.rs"), "{crash}");
    }
}

/// The stack is in memory that nobody fills: the walk over it waits for ever at its first step.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_walk_that_hangs_is_cut_off() {
    let _dog = watchdog();
    const UNAVAILABLE: i32 = 77;
    const LEN: usize = 1 << 20;
    fn crash() {
        const USER_MODE_ONLY: i32 = 1;
        const API: libc::c_ulong = 0xc018_aa3f;
        const REGISTER: libc::c_ulong = 0xc020_aa00;
        // SAFETY: takes an integer.
        let faults = unsafe { libc::syscall(libc::SYS_userfaultfd, USER_MODE_ONLY) } as i32;
        let mut api = [0xaa_u64, 0, 0];
        // SAFETY: the kernel reads and writes three words.
        if faults < 0 || unsafe { libc::ioctl(faults, API, &raw mut api) } != 0 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(UNAVAILABLE) };
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let stack = unsafe { libc::mmap(std::ptr::null_mut(), LEN, protection, flags, -1, 0) } as usize;
        let mut range = [stack as u64, LEN as u64, 1, 0];
        // SAFETY: the kernel reads and writes four words.
        assert_eq!(unsafe { libc::ioctl(faults, REGISTER, &raw mut range) }, 0);
        // SAFETY: not at all.
        unsafe {
            std::arch::asm!(
                "mov rsp, {stack}", "mov rbp, {stack}", "mov byte ptr [0], 1",
                stack = in(reg) stack + LEN / 2, options(noreturn)
            )
        }
    }
    let process = Process::builder().stderr(Stdio::null()).spawn(crash, ()).unwrap();
    match process.join() {
        Err(ProcessError::Signaled { signal: libc::SIGSEGV, crash: Some(crash), .. }) => {
            assert_eq!((crash.signal(), crash.address()), (libc::SIGSEGV, Some(0)));
            // What was known before.
            assert!(is_named(&crash, "a_walk_that_hangs", "crash_kinds.rs"), "{crash}");
        }
        Err(ProcessError::Exited { code: UNAVAILABLE, .. }) => println!("no userfaultfd on this machine"),
        other => panic!("{other:?}"),
    }
}

/// A control group for memory with a limit, or `None` where none can be made.
fn limited_group(limit: u64) -> Option<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let old = groups.lines().find_map(|line| line.split_once(":memory:"));
    let (root, path, file) = match old {
        Some((_, path)) => ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
        None => ("/sys/fs/cgroup", groups.lines().find_map(|line| line.strip_prefix("0::"))?, "memory.max"),
    };
    let group = Path::new(root).join(path.trim_start_matches('/')).join(format!("crash-kinds-{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    if std::fs::write(group.join(file), limit.to_string()).is_err() {
        let _ = std::fs::remove_dir(&group);
        return None;
    }
    Some(group)
}

#[test]
fn a_kill_for_want_of_memory_is_told() {
    let _dog = watchdog();
    const LIMIT: u64 = 96 << 20;
    fn take_memory() {
        let mut all = Vec::new();
        loop {
            all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
    fn host(group: PathBuf) -> [Option<(bool, Option<u64>, String)>; 3] {
        std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        let told = |process: Process<()>| match process.join() {
            Err(ProcessError::Signaled { signal: libc::SIGKILL, crash, .. }) => crash.map(|crash| {
                (
                    crash.cause() == CrashCause::OutOfMemory,
                    crash.memory_limit(),
                    format!("{crash} {} {:?}", crash.thread(), crash.sender()),
                )
            }),
            other => panic!("{other:?}"),
        };
        // Two are killed by hand.
        let killed = || {
            let process = Process::spawn(|| std::thread::sleep(std::time::Duration::MAX), ()).unwrap();
            process.kill().unwrap();
            process
        };
        [told(killed()), told(Process::spawn(take_memory, ()).unwrap()), told(killed())]
    }
    let Some(group) = limited_group(LIMIT) else {
        println!("no control groups on this machine");
        return;
    };
    let told = Process::spawn(host, (group.clone(),)).unwrap().join();
    // Whoever was in it has ended, and may not have been reaped.
    while std::fs::remove_dir(&group).is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY)) {
        std::thread::yield_now();
    }
    let [before, of_kernel, after] = told.unwrap();
    assert_eq!((before, after), (None, None));
    let (is_out_of_memory, limit, text) = of_kernel.unwrap();
    assert_eq!((is_out_of_memory, limit), (true, Some(LIMIT)), "{text}");
    assert_eq!(text, "SIGKILL (the kernel was out of memory), limit 100663296 bytes  None");
}
