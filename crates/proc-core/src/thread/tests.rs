use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use kernel::sys::at_exit;
use test_support::processes::is_asleep;

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_thread_returns_its_value() {
    let worker = Builder::new().name("adder").spawn(|| (current().name().to_owned(), 6 * 7)).unwrap();
    let thread = worker.thread().clone();
    assert_eq!(worker.join(), Ok(("adder".to_owned(), 42)));
    assert_eq!((thread.is_alive(), thread.state()), (false, State::Terminated));
    assert_eq!(thread.join(), Ok(()));
}

#[test]
fn names_are_numbered() {
    let names: Vec<String> = (0..3).map(|_| spawn(|| current().name().to_owned()).join().unwrap()).collect();
    let numbers: Vec<u32> = names.iter().map(|name| name.strip_prefix("Thread-").unwrap().parse().unwrap()).collect();
    assert!(numbers[0] >= 1 && numbers.is_sorted_by(|a, b| a < b), "{names:?}");
}

#[test]
fn the_kernel_knows_the_name_and_number() {
    let (name, id) = Builder::new()
        .name("worker bee")
        .spawn(|| (std::fs::read_to_string("/proc/thread-self/comm").unwrap(), current().native_id().unwrap()))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(name, "worker bee\n");
    assert_ne!(id, std::process::id());
}

#[test]
fn a_panic_is_an_error_with_its_place() {
    let error = spawn(|| panic!("no {}", "luck")).join().map(|()| 0).unwrap_err();
    let ThreadError::Panicked { message, location } = error else { panic!("{error:?}") };
    assert_eq!(message, "no luck");
    assert!(location.contains("thread/tests.rs"), "{location}");
}

#[test]
fn a_join_with_a_time_limit_gives_up() {
    let (release, held) = mpsc::channel::<()>();
    let worker = spawn(move || held.recv().is_err());
    assert!(!worker.join_timeout(Duration::from_millis(20)));
    assert!(worker.is_alive());
    drop(release);
    assert!(worker.join_timeout(LONG));
    assert!(worker.is_finished());
    assert_eq!(worker.join(), Ok(true));
}

#[test]
fn a_thread_cannot_join_itself() {
    let (error, ended) = spawn(|| (current().join(), current().join_timeout(LONG))).join().unwrap();
    assert_eq!((error, ended), (Err(ThreadError::Current), false));
}

#[test]
fn all_who_join_return() {
    let barrier = Arc::new(Barrier::new(4));
    let worker = spawn({
        let barrier = Arc::clone(&barrier);
        move || barrier.wait().is_leader()
    });
    let joiners: Vec<_> = (0..3)
        .map(|_| {
            let (thread, barrier) = (worker.thread().clone(), Arc::clone(&barrier));
            spawn(move || {
                barrier.wait();
                thread.join()
            })
        })
        .collect();
    assert!(joiners.into_iter().all(|joiner| joiner.join() == Ok(Ok(()))));
}

#[test]
fn enumerate_lists_the_living() {
    let (release, held) = mpsc::channel::<()>();
    let worker = Builder::new().name("listed").daemon(true).spawn(move || held.recv()).unwrap();
    let listed = || enumerate().iter().any(|t| t == worker.thread());
    assert!(listed() && worker.is_daemon());
    assert_eq!(enumerate()[0].name(), "MainThread");
    assert!(active_count() >= 2);
    drop(release);
    assert!(worker.join_timeout(LONG));
    assert!(!listed());
}

#[test]
fn a_daemons_threads_are_daemons() {
    let daemon = Builder::new().daemon(true).spawn(|| Builder::new().prepare(|| ()).is_daemon()).unwrap();
    assert_eq!(daemon.join(), Ok(true));
    let other = Builder::new().daemon(false).spawn(|| Builder::new().prepare(|| ()).is_daemon()).unwrap();
    assert_eq!(other.join(), Ok(false));
}

#[test]
fn strangers_are_listed_while_they_live() {
    let stranger = std::thread::Builder::new().name("stranger".into());
    let thread = stranger.spawn(|| (current(), enumerate().contains(&current()))).unwrap().join().unwrap();
    assert_eq!((thread.0.name(), thread.1, thread.0.is_alive()), ("stranger", true, false));
    assert!(!enumerate().contains(&thread.0));
}

#[test]
fn the_five_states() {
    let (release, held) = mpsc::channel::<()>();
    let prepared = Builder::new().prepare(move || held.recv());
    assert_eq!((prepared.state(), prepared.join()), (State::New, Err(ThreadError::NotStarted)));
    let waiting = prepared.start().unwrap();
    while waiting.state() != State::Blocked {
        std::thread::yield_now();
    }
    drop(release);

    // More threads than CPUs: some run, some wait for their turn.
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy: Vec<_> = (0..=std::thread::available_parallelism().unwrap().get())
        .map(|_| {
            let stop = Arc::clone(&stop);
            spawn(move || while !stop.load(Relaxed) {})
        })
        .collect();
    let seen = |state| busy.iter().any(|thread| thread.state() == state);
    while !seen(State::Runnable) {}
    while !seen(State::Running) {}
    stop.store(true, Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());

    assert!(waiting.join_timeout(LONG));
    assert_eq!((waiting.state(), current().state()), (State::Terminated, State::Running));
}

struct Greeter(&'static str);

impl Runnable for Greeter {
    type Output = String;
    fn run(self) -> String {
        format!("hello {}", self.0)
    }
}

#[test]
fn a_type_can_be_a_thread() {
    assert_eq!(start(Greeter("bob")).join().as_deref(), Ok("hello bob"));
}

#[test]
fn a_timer_fires_once_its_time_has_come() {
    let begun = std::time::Instant::now();
    let fired = Arc::new(Mutex::new(None));
    let timer = Timer::new(Duration::from_millis(20), {
        let fired = Arc::clone(&fired);
        move || *fired.lock().unwrap() = Some(begun.elapsed())
    });
    timer.start().unwrap();
    assert!(timer.start().is_err());
    timer.join().unwrap();
    assert!(fired.lock().unwrap().unwrap() >= Duration::from_millis(20));
    assert!(!timer.cancel());
}

#[test]
fn a_cancelled_timer_does_nothing() {
    let timer = Timer::new(LONG, || panic!("cancelled"));
    timer.start().unwrap();
    assert!(timer.cancel() && timer.cancel());
    timer.join().unwrap();
    let never_started = Timer::new(LONG, || panic!("cancelled"));
    assert!(never_started.cancel());
    never_started.start().unwrap();
    never_started.join().unwrap();
}

#[test]
fn a_bad_name_is_an_error() {
    let error = Builder::new().name("a\0b").spawn(|| ()).map(drop).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(enumerate().iter().all(|thread| thread.name() != "a\0b"));
}

/// Runs one of the tests below in a process of its own, where it knows itself by the variable.
fn alone(test: &str) -> (bool, String, String) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("thread::tests::{test}"), "--nocapture", "--test-threads=1"]);
    let output = command.env(ALONE, "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

const ALONE: &str = "PROC_CORE_THREAD_TEST_ALONE";

fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

#[test]
fn the_end_of_main_waits_for_all_but_daemons() {
    if is_alone() {
        drop(Builder::new().name("idle").daemon(true).spawn(|| std::thread::sleep(LONG * 60)).unwrap());
        static IS_EXITING: AtomicBool = AtomicBool::new(false);
        drop(spawn(|| {
            // The main thread is at its exit, and sleeps there: a `main` that does not wait never does, and ends all this.
            while !IS_EXITING.load(Relaxed) || !is_asleep(std::process::id().cast_signed()) {
                std::thread::yield_now();
            }
            drop(spawn(|| println!("{} has ended", current().name())));
        }));
        // After that of the threads, and so called before it.
        at_exit::register(|| IS_EXITING.store(true, Relaxed));
        return;
    }
    let (ok, out, err) = alone("the_end_of_main_waits_for_all_but_daemons");
    assert!(ok && out.contains("Thread-2 has ended"), "{out}{err}");
}

#[test]
#[allow(clippy::exit, reason = "it is what the test is about")]
fn exit_on_another_thread_waits_for_nobody() {
    if is_alone() {
        let (_held, never) = mpsc::channel::<()>();
        drop(spawn(move || never.recv()));
        let _ = spawn(|| std::process::exit(0)).join();
        unreachable!();
    }
    let (ok, out, err) = alone("exit_on_another_thread_waits_for_nobody");
    assert!(ok, "{out}{err}");
}

#[test]
fn the_excepthook_has_the_word() {
    if is_alone() {
        set_excepthook(|uncaught| {
            let Uncaught { thread, message, location, .. } = uncaught;
            println!("{} fell over {message:?} at {}", thread.name(), location.contains("thread/tests.rs:"));
        });
        let doomed = || drop(Builder::new().name("doomed").spawn(|| panic!("a stone")).unwrap().join());
        doomed();
        reset_excepthook();
        doomed();
        return;
    }
    let (ok, out, err) = alone("the_excepthook_has_the_word");
    assert!(ok && out.contains("doomed fell over \"a stone\" at true"), "{out}{err}");
    assert_eq!(err.matches("thread 'doomed'").count(), 1, "{err}");
}
