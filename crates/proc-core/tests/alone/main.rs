//! Tests that need a process of their own, with one thread: they fork it, or change what it is to its children.
//!
//! Each case runs in a fresh copy of this program, in a directory of its own.

#![allow(clippy::unwrap_used, clippy::exit, reason = "tests")]

mod conditions;
mod daemon;
mod entry;
mod late;
mod liveness;
mod pid_file;
mod programs;
mod quiet;
mod reaper;
mod reused_pids;
mod texts;

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Mutex,
    thread,
    time::Duration,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Names and functions of some tests.
macro_rules! cases {
    ($($module:ident: $($name:ident),* ;)*) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn()),)*)*]
    };
}

const CASES: &[(&str, fn())] = cases! {
    daemon: starts_when_ready, keeps_what_it_is_told_to, reports_its_own_error, reports_a_panic, reports_an_early_end,
        reports_an_early_end_where_children_are_ignored, reports_silence,
        takes_over_a_stale_pid_file, runs_a_function, becomes_a_user, outlives_its_launcher, refuses_with_threads,
        stress_kills_during_the_start;
    pid_file: reading_it_does_not_lose_it, locks_of_others_do_not_count, what_is_no_pid_file_is_left_alone,
        a_forked_child_does_not_signal_a_dead_daemons_pid, a_strangers_file_is_not_believed,
        a_pid_of_another_namespace_is_not_believed;
    conditions: users_and_groups, users_for_a_while, capabilities, no_new_privileges, filters,
        a_root_in_which_is_nothing, a_root_in_which_is_nothing_as_nobody, mounts, networks, user_namespaces,
        pid_namespaces, directories_and_masks, resource_limits, nice_values_and_cpus, standard_streams,
        children_with_more_rights_than_their_owner;
    entry: children_have_the_rights_of_their_owner, programs_with_more_rights_than_their_callers,
        impostors_are_not_served, becomes_the_program, stays_until_its_children_have_ended,
        constructors_that_start_processes, a_program_that_begins_slowly_is_waited_for;
    liveness: blind_is_not_dead, a_forked_child_is_another_participant, forks_keep_nobody_alive,
        stress_kills_while_entering, entering_keeps_no_descriptor, out_of_sight_is_not_dead,
        denied_calls_are_not_dead;
    programs: a_program_that_does_not_read_ends_nobody, ignored_children_have_output_and_status,
        the_longest_waits_are_waits;
    quiet: short_programs_say_nothing, short_program, a_host_that_waits_for_all_comes_to_an_end, starts_at_the_end_of_idleness;
    texts: through_the_dynamic_loader, three_starts, under_valgrind, one_start, without_the_null_device,
        without_robust_lists, without_opening_processes;
    reused_pids: a_dead_spares_pid_is_not_signalled, ignored_children_lose_nothing, a_host_that_waits_for_all_loses_nothing,
        a_group_of_another_is_not_signalled;
    late: from_a_thread_locals_destructor, from_functions_at_exit, in_a_child;
    reaper: reaps_orphans_and_nobody_elses, knows_an_orphan_by_its_session, knows_an_orphan_by_its_former_parent,
        leaves_doubtful_ones_alone, is_process_1, signals_reach_a_program_that_does_not_look_at_its_mask;
};

const CASE: &str = "PROC_CORE_ALONE";
/// The number of a descriptor that each case is started with.
const INHERITED: &str = "PROC_CORE_ALONE_INHERITED";

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        let (_, run) = CASES.iter().find(|(name, _)| *name == case).expect("a case of this program");
        run();
        return ExitCode::SUCCESS;
    }
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let inherited = File::open("/dev/null").unwrap();
    fcntl(&inherited, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let number = inherited.as_raw_fd().to_string();
    let cases = Mutex::new(CASES.iter().filter(|(name, _)| name.contains(&filter)));
    // Most of them wait most of the time.
    let at_once = std::env::var("RUST_TEST_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let run_some = || {
        let next = || cases.lock().unwrap().next();
        std::iter::from_fn(next).filter(|(name, _)| !has_passed(name, &number)).count()
    };
    let n_failed: usize = thread::scope(|scope| {
        let running: Vec<_> = (0..at_once).map(|_| scope.spawn(run_some)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    ExitCode::from(u8::from(n_failed > 0))
}

/// Runs a case in a process of its own.
fn has_passed(name: &str, inherited: &str) -> bool {
    // Each has time of its own: all of them take a while on a busy machine.
    let _dog = test_support::watchdog(Duration::from_secs(120));
    let dir = Dir::new(name);
    let mut case = Command::new("/proc/self/exe");
    let status = case.env(CASE, name).env(INHERITED, inherited).current_dir(&dir.0).status().unwrap();
    println!("test {name} ... {}", if status.success() { "ok" } else { "FAILED" });
    status.success()
}

/// An empty directory, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("proc-core-{}-{}", name.replace("::", "-"), std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
