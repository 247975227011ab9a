use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_support::watchdog;

use super::*;
use crate::{Process, ProcessError};
use kernel::identity::ProcessId;

const LONG: Duration = Duration::from_secs(60);

fn sleeper() {
    loop {
        thread::park();
    }
}

fn stubborn() {
    let ignore = nix::sys::signal::SigSet::all();
    let _ = ignore.thread_block();
    sleeper();
}

fn exits(code: i32) {
    #[allow(clippy::exit, reason = "a child's abnormal end")]
    std::process::exit(code);
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

/// The next events, as "+a" for started, "-a" for exited, "!a" for stopped.
fn events(supervisor: &Supervisor, n: usize) -> String {
    let short = |event| match event {
        Event::Started { id, .. } => format!("+{id}"),
        Event::Exited { id, .. } => format!("-{id}"),
        Event::Stopped { id, .. } => format!("!{id}"),
        Event::NotStarted { id, .. } => format!("?{id}"),
    };
    supervisor.events().iter().take(n).map(short).collect::<Vec<_>>().join(" ")
}

fn abc(strategy: Strategy, restart: Restart) -> Supervisor {
    let child = |id: &str| ChildSpec::new(id, sleeper, ()).restart(restart);
    let builder = Supervisor::builder().strategy(strategy).intensity(1000, LONG);
    let supervisor = builder.child(child("a")).child(child("b")).child(child("c")).start().unwrap();
    assert_eq!(events(&supervisor, 3), "+a +b +c");
    supervisor
}

fn pid_of(supervisor: &Supervisor, id: &str) -> u32 {
    supervisor.which_children().unwrap().into_iter().find(|child| child.id == id).unwrap().pid.unwrap()
}

#[test]
fn strategies_restart_whom_they_name() {
    let _dog = watchdog(LONG);
    for (strategy, expected) in [
        (Strategy::OneForOne, "-b +b"),
        (Strategy::RestForOne, "-b !c +b +c"),
        (Strategy::OneForAll, "-b !c !a +a +b +c"),
    ] {
        let supervisor = abc(strategy, Restart::Permanent);
        kill_9(pid_of(&supervisor, "b"));
        assert_eq!(events(&supervisor, expected.split(' ').count()), expected);
        assert!(supervisor.which_children().unwrap().iter().all(|child| child.pid.is_some()));
        supervisor.stop().unwrap();
    }
}

#[test]
fn stop_is_in_reverse_order_and_leaves_nobody() {
    let _dog = watchdog(LONG);
    let supervisor = abc(Strategy::OneForOne, Restart::Permanent);
    let pids: Vec<u32> = supervisor.which_children().unwrap().iter().map(|child| child.pid.unwrap()).collect();
    supervisor.shared.stop();
    assert_eq!(events(&supervisor, 3), "!c !b !a");
    supervisor.wait().unwrap();
    assert!(matches!(supervisor.which_children(), Err(SupervisorError::Ended)));
    assert!(pids.iter().all(|pid| ProcessId::of(*pid).is_none()));
}

#[test]
fn restart_policies_are_kept() {
    let _dog = watchdog(LONG);
    let supervisor = Supervisor::builder()
        .intensity(5, LONG)
        .child(ChildSpec::new("normal", exits, (0,)).restart(Restart::Transient))
        .child(ChildSpec::new("abnormal", exits, (3,)).restart(Restart::Temporary))
        .start()
        .unwrap();
    // None of them comes again, so nothing is left to watch over.
    supervisor.wait().unwrap();
    let mut ends = HashMap::new();
    for event in supervisor.events().try_iter() {
        if let Event::Exited { id, status, .. } = event {
            assert_eq!(ends.insert(id, status.unwrap().code().unwrap()), None);
        }
    }
    assert_eq!(ends, HashMap::from([("normal".to_owned(), 0), ("abnormal".to_owned(), 3)]));

    let transient = abc(Strategy::OneForOne, Restart::Transient);
    kill_9(pid_of(&transient, "a"));
    assert_eq!(events(&transient, 2), "-a +a");
}

#[test]
fn intensity_is_the_limit() {
    let _dog = watchdog(LONG);
    let supervisor = Supervisor::builder()
        .intensity(3, LONG)
        .child(ChildSpec::new("good", sleeper, ()))
        .child(ChildSpec::new("bad", exits, (1,)))
        .start()
        .unwrap();
    let error = supervisor.wait().unwrap_err();
    assert!(matches!(&error, SupervisorError::TooManyRestarts { id } if id == "bad"), "{error}");
    assert_eq!(events(&supervisor, 10), "+good +bad -bad +bad -bad +bad -bad +bad -bad !good");

    // A period that is over does not count.
    let supervisor = Supervisor::builder()
        .intensity(1, Duration::from_millis(1))
        .child(ChildSpec::new("a", sleeper, ()))
        .start()
        .unwrap();
    for _ in 0..5 {
        assert!(events(&supervisor, 1).starts_with('+'));
        thread::sleep(Duration::from_millis(2));
        kill_9(pid_of(&supervisor, "a"));
        assert_eq!(events(&supervisor, 1), "-a");
    }
    supervisor.stop().unwrap();
}

#[test]
fn a_child_that_cannot_be_started_is_an_error() {
    let _dog = watchdog(LONG);
    let refuse = || Err::<Process<()>, _>(ProcessError::LauncherLost);
    let error = Supervisor::builder()
        .child(ChildSpec::new("a", sleeper, ()))
        .child(ChildSpec::from_fn("b", refuse))
        .start()
        .map(drop)
        .unwrap_err();
    assert!(matches!(&error, SupervisorError::NotStarted { id, .. } if id == "b"), "{error}");
    let twice = Supervisor::builder().child(ChildSpec::new("a", sleeper, ())).child(ChildSpec::new("a", sleeper, ()));
    assert!(matches!(twice.start().map(drop), Err(SupervisorError::AlreadyPresent { .. })));
}

#[test]
fn children_come_and_go_at_will() {
    let _dog = watchdog(LONG);
    let supervisor = abc(Strategy::OneForOne, Restart::Permanent);
    supervisor.terminate_child("b").unwrap();
    supervisor.start_child(ChildSpec::new("d", sleeper, ())).unwrap();
    supervisor.restart_child("b").unwrap();
    supervisor.restart_child("b").unwrap();
    assert_eq!(events(&supervisor, 3), "!b +d +b");
    assert!(matches!(supervisor.terminate_child("x"), Err(SupervisorError::NotFound { .. })));
    let restarts: Vec<_> = supervisor.which_children().unwrap().into_iter().map(|c| (c.id, c.restarts)).collect();
    assert_eq!(restarts.iter().map(|(id, n)| format!("{id}{n}")).collect::<String>(), "a0b1c0d0");
    supervisor.stop().unwrap();
}

#[test]
fn shutdown_has_its_grace() {
    let _dog = watchdog(LONG);
    let supervisor = Supervisor::builder()
        .child(ChildSpec::new("stubborn", stubborn, ()).shutdown(Shutdown::Timeout(Duration::from_millis(50))))
        .child(ChildSpec::new("brutal", stubborn, ()).shutdown(Shutdown::BrutalKill))
        .child(ChildSpec::new("polite", sleeper, ()).shutdown(Shutdown::Infinity))
        .start()
        .unwrap();
    let pids: Vec<u32> = supervisor.which_children().unwrap().iter().map(|child| child.pid.unwrap()).collect();
    supervisor.stop().unwrap();
    assert!(pids.iter().all(|pid| ProcessId::of(*pid).is_none()));
}

/// Says when it is ready to be terminated, and when it is.
fn polite(name: String) {
    let mut term = nix::sys::signal::SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block().unwrap();
    println!("{name} runs");
    term.wait().unwrap();
    println!("{name} ends");
}

/// Ends, with its supervisor still at work, when no process holds the other end of its standard input.
fn owner() {
    let child = |id: &str| ChildSpec::new(id, polite, (id.to_owned(),)).shutdown(Shutdown::Infinity);
    let supervisor = Supervisor::builder().child(child("a")).child(child("b")).child(child("c")).start().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
    std::mem::forget(supervisor);
}

#[test]
fn the_end_of_the_process_stops_children_in_reverse_order() {
    let _dog = watchdog(LONG);
    let piped = std::process::Stdio::piped;
    let owner = Process::builder().stdin(piped()).stdout(piped()).spawn(owner, ()).unwrap();
    let mut lines = BufReader::new(owner.take_stdout().unwrap()).lines().map(Result::unwrap);
    let mut running: Vec<String> = lines.by_ref().take(3).collect();
    running.sort_unstable();
    assert_eq!(running, ["a runs", "b runs", "c runs"]);
    drop(owner.take_stdin());
    assert_eq!(lines.collect::<Vec<_>>(), ["c ends", "b ends", "a ends"]);
    owner.join().unwrap();
}

#[test]
fn stress_order_holds_in_a_kill_storm() {
    let _dog = watchdog(LONG);
    let supervisor = abc(Strategy::RestForOne, Restart::Permanent);
    let children = supervisor.which_children().unwrap().into_iter();
    let mut running: HashMap<String, u32> = children.map(|child| (child.id, child.pid.unwrap())).collect();
    let (mut order, mut events) = (Vec::new(), Vec::new());
    for round in 0.. {
        events.extend(supervisor.events().try_iter());
        if events.iter().filter(|event| matches!(event, Event::Started { .. })).count() > 100 {
            break;
        }
        let children = supervisor.which_children().unwrap();
        for pid in children.iter().skip(round % 3).filter_map(|child| child.pid) {
            // It may have been stopped, because of another one's death, since we asked.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
    supervisor.shared.stop();
    supervisor.wait().unwrap();
    events.extend(supervisor.events().try_iter());
    for event in events {
        match event {
            Event::Started { id, pid } => {
                let after = order.iter().filter(|other: &&String| running.contains_key(*other) && **other > id).count();
                assert_eq!(after, 0, "{id} was started while later ones ran");
                assert_eq!(running.insert(id.clone(), pid), None, "{id} twice");
                order.push(id);
            }
            Event::Exited { id, pid, status } => {
                assert_eq!(running.remove(&id), Some(pid));
                assert_eq!(status.unwrap().signal(), Some(9));
            }
            Event::Stopped { id, pid } => {
                assert!(running.keys().all(|other| *other <= id), "{id} was stopped before later ones");
                assert_eq!(running.remove(&id), Some(pid));
            }
            Event::NotStarted { .. } => unreachable!(),
        }
    }
    assert!(order.len() > 100, "{order:?}");
}

#[test]
fn children_are_replaced_and_forgotten() {
    let _dog = watchdog(LONG);
    let supervisor = abc(Strategy::OneForOne, Restart::Permanent);
    let before = pid_of(&supervisor, "b");
    supervisor.replace_child(ChildSpec::new("b", stubborn, ()).shutdown(Shutdown::BrutalKill)).unwrap();
    assert_eq!(events(&supervisor, 2), "!b +b");
    assert_ne!(pid_of(&supervisor, "b"), before);
    assert!(ProcessId::of(before).is_none());
    let ids = |children: Vec<ChildInfo>| children.into_iter().map(|child| child.id).collect::<Vec<_>>().join(" ");
    assert_eq!(ids(supervisor.which_children().unwrap()), "a b c");

    let never = ChildSpec::from_fn("b", || {
        let source = std::io::ErrorKind::PermissionDenied.into();
        Err::<Process<()>, _>(ProcessError::Start { operation: "start".into(), source })
    });
    assert!(matches!(supervisor.replace_child(never), Err(SupervisorError::NotStarted { .. })));
    assert!(supervisor.which_children().unwrap()[1].pid.is_none());
    supervisor.restart_child("b").unwrap();
    assert_eq!(events(&supervisor, 2), "!b +b", "it is the one before");

    supervisor.delete_child("b").unwrap();
    assert_eq!(ids(supervisor.which_children().unwrap()), "a c");
    assert!(matches!(supervisor.delete_child("b"), Err(SupervisorError::NotFound { .. })));
    assert!(matches!(
        supervisor.replace_child(ChildSpec::new("b", sleeper, ())),
        Err(SupervisorError::NotFound { .. })
    ));
    supervisor.start_child(ChildSpec::new("b", sleeper, ())).unwrap();
    supervisor.stop().unwrap();
}

#[test]
fn restarts_wait_longer_from_one_to_the_next() {
    let _dog = watchdog(LONG);
    let begun = std::time::Instant::now();
    let ms = Duration::from_millis;
    let builder = Supervisor::builder().intensity(4, LONG).backoff(ms(40), ms(100));
    let supervisor = builder.child(ChildSpec::new("a", exits, (1,))).start().unwrap();
    assert!(matches!(supervisor.wait(), Err(SupervisorError::TooManyRestarts { id }) if id == "a"));
    // The fifth restart, which would be one too many, is due after the last of these.
    assert!(begun.elapsed() >= ms(40 + 80 + 100 + 100 + 100), "{:?}", begun.elapsed());
    assert_eq!(events(&supervisor, 10), "+a -a +a -a +a -a +a -a +a -a");
}

#[test]
fn who_waits_for_a_restart_can_be_started_stopped_and_forgotten() {
    let _dog = watchdog(LONG);
    let hour = Duration::from_secs(3600);
    let child = |id: &str| ChildSpec::new(id, sleeper, ()).restart(Restart::Transient);
    let builder = Supervisor::builder().intensity(10, LONG).backoff(hour, hour).child(child("a")).child(child("b"));
    let supervisor = builder.start().unwrap();
    assert_eq!(events(&supervisor, 2), "+a +b");
    kill_9(pid_of(&supervisor, "a"));
    assert_eq!(events(&supervisor, 1), "-a");
    assert!(supervisor.which_children().unwrap()[0].pid.is_none(), "it comes again, but not now");
    supervisor.restart_child("a").unwrap();
    kill_9(pid_of(&supervisor, "a"));
    assert_eq!(events(&supervisor, 2), "+a -a");
    supervisor.terminate_child("b").unwrap();
    // It is not over as long as one is to come again.
    assert_eq!(supervisor.which_children().unwrap().len(), 2);
    supervisor.delete_child("a").unwrap();
    supervisor.wait().unwrap();
}
