//! Functions that are called by their names, in another build of the program.
//!
//! That build is a copy of this program with another build id: to all that asks, it is no copy.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{abort, id},
    thread,
    time::Duration,
};

use cluster::{Agent, ClusterPool};
use pool::{Error, TaskError};
use proc_core::{CrashCause, Fd, Frame, Stdio, command::Popen, function::build_id};
use serde::{Deserialize, Serialize};

use crate::{server::new_directory, support::local};

/// What the calling side takes a word for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Word {
    text: String,
    n: u64,
    kind: Kind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Short,
    Long { n_letters: u64 },
}

/// The same on the other side, where everything is in another order, and there is more of it.
mod theirs {
    use super::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Word {
        pub(super) kind: Kind,
        pub(super) language: String,
        pub(super) n: u64,
        pub(super) text: String,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Kind {
        Long { n_letters: u64 },
        Unknown,
        Short,
    }
}

fn count_words(text: String) -> Vec<theirs::Word> {
    let mut counts = BTreeMap::new();
    for word in text.split(' ') {
        *counts.entry(word).or_default() += 1;
    }
    let kind = |word: &str| match word.len() {
        0 => theirs::Kind::Unknown,
        n @ 5.. => theirs::Kind::Long { n_letters: n as u64 },
        _ => theirs::Kind::Short,
    };
    let word = |(text, n): (&str, u64)| theirs::Word { kind: kind(text), language: "en".into(), n, text: text.into() };
    counts.into_iter().map(word).collect()
}

/// What the other build does, as an agent, until it is killed.
#[test]
#[ignore = "is run by the other tests, as another program"]
fn serve_as_another_build() {
    let Ok(url) = env::var("CLUSTER_TEST_URL") else { return };
    let agent = Agent::builder(url).token(env::var("CLUSTER_TEST_TOKEN").unwrap()).slots(2);
    let agent = agent.register("count_words", count_words).register("add", |a: u64, b: u64| a + b);
    let agent = agent.register("fail", |how: u8| -> Result<(), Error> {
        match how {
            0 => Err("none".into()),
            1 => panic!("one"),
            _ => abort(),
        }
    });
    let agent = agent.register("open", || Fd::from(fs::File::open("/dev/null").unwrap())).register("pid", id);
    agent.start().unwrap().wait().unwrap();
}

/// The other build, as a process; and the file, which goes with it.
struct Other {
    file: PathBuf,
    process: Popen,
}

impl Other {
    fn start(pool: &ClusterPool) -> Self {
        let mut program = fs::read(env::current_exe().unwrap()).unwrap();
        let own = build_id().unwrap();
        let at = program.windows(own.len()).position(|bytes| bytes == own).unwrap();
        program[at] ^= 0xff;
        let file = new_directory().join("other");
        fs::write(&file, program).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        let (url, token) = pool.server_address().unwrap();
        let agent = ["--ignored", "--exact", "registered::serve_as_another_build"].map(Into::into);
        let agent = Popen::builder([file.clone()].into_iter().chain(agent));
        let process = agent.env("CLUSTER_TEST_URL", url).env("CLUSTER_TEST_TOKEN", token).stdout(Stdio::null());
        Self { process: process.spawn().unwrap(), file }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        fs::remove_dir_all(self.file.parent().unwrap()).unwrap();
    }
}

#[test]
fn function_of_another_build_is_called_by_its_name() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let count = pool.function::<(String,), Vec<Word>>("count_words").unwrap();
    // It waits for an agent that knows the function.
    let early = count.apply_async(("to be or not to be".into(),));
    let other = Other::start(&pool);
    let words = early.get().unwrap();
    assert_eq!(words[0], Word { text: "be".into(), n: 2, kind: Kind::Short });
    let words = count.apply(("another".into(),)).unwrap();
    assert_eq!(words, [Word { text: "another".into(), n: 1, kind: Kind::Long { n_letters: 7 } }]);
    let add = pool.function::<(u64, u64), u64>("add").unwrap();
    let pairs = || (0..1000).map(|n| (n, 2 * n));
    assert_eq!(add.starmap(pairs()), Ok((0..1000).map(|n| 3 * n).collect::<Vec<_>>()));
    assert_eq!(add.istarmap(pairs()).map(Result::unwrap).sum::<u64>(), 3 * 999 * 500);
    assert_eq!(add.istarmap_unordered(pairs()).map(Result::unwrap).sum::<u64>(), 3 * 999 * 500);

    // Each side keeps its own: no place in this build's program goes to the other one.
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse::<u32>().unwrap()
    };
    let theirs = pool.function::<(), u32>("pid").unwrap().starmap((0..20).map(|_| ())).unwrap();
    assert!(theirs.into_iter().all(|pid| parent(pid) == other.process.pid()));
    let ours = pool.map(|_: u8| id(), 0..20).unwrap();
    assert!(ours.into_iter().all(|pid| parent(pid) != other.process.pid()));
    assert_eq!(pool.hosts().len(), 1);
    assert_eq!(pool.n_resubmitted(), 0);
}

#[test]
fn types_that_do_not_fit_are_errors() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let _other = Other::start(&pool);
    // A number of another width is taken if it is one there, too.
    assert_eq!(pool.function::<(u8, i64), u64>("add").unwrap().apply((1, 2)), Ok(3));
    let negative = pool.function::<(u64, i64), u64>("add").unwrap().apply((1, -2));
    assert!(matches!(negative, Err(TaskError::Decode(_) | TaskError::Encode(_))), "{negative:?}");
    let few = pool.function::<(u64,), u64>("add").unwrap().apply((1,));
    assert!(matches!(few, Err(TaskError::Decode(_) | TaskError::Encode(_))), "{few:?}");
    let text = pool.function::<(u64, u64), String>("add").unwrap().apply((1, 2));
    assert!(matches!(text, Err(TaskError::Decode(_))), "{text:?}");
    // The calling side knows no such kind of word.
    let unknown = pool.function::<(String,), Vec<Word>>("count_words").unwrap().apply((String::new(),));
    assert!(matches!(&unknown, Err(TaskError::Decode(why)) if why.contains("Unknown")), "{unknown:?}");

    let fail = pool.function::<(u8,), Result<(), Error>>("fail").unwrap();
    assert_eq!(fail.apply((0,)), Ok(Err("none".into())));
    assert!(matches!(fail.apply((1,)), Err(TaskError::Panicked { message, .. }) if message == "one"));
    let died = fail.apply((2,));
    let Err(TaskError::WorkerDied { signal: Some(6), crash: Some(crash), .. }) = &died else { panic!("{died:?}") };
    // The addresses are places in the other program, where this one has other functions.
    let of_program = |frame: &&Frame| frame.module().is_none();
    assert!(crash.cause() == CrashCause::Abort && crash.frames().iter().any(|frame| of_program(&frame)), "{crash}");
    assert!(crash.frames().iter().filter(of_program).all(|frame| frame.function().is_none()), "{crash}");
    let handle = pool.function::<(), Fd>("open").unwrap().apply(());
    assert!(matches!(&handle, Err(TaskError::Encode(why)) if why.contains("handle")), "{handle:?}");
    let handle = pool.function::<(Fd,), ()>("add").unwrap().apply((fs::File::open("/dev/null").unwrap().into(),));
    assert!(matches!(&handle, Err(TaskError::Encode(why)) if why.contains("handle")), "{handle:?}");
}

#[test]
fn function_that_no_agent_knows_is_told_after_the_stated_time() {
    let settings = ClusterPool::builder().agent_timeout(Duration::from_millis(500));
    let Some((_dog, pool)) = local(settings, 1) else { return };
    loop {
        let Err(TaskError::Broken(why)) = pool.function::<(), ()>("nothing").unwrap().apply(()) else {
            panic!("it ran")
        };
        let why = why.to_string();
        assert!(why.contains("no agent that has registered \"nothing\""), "{why}");
        // It is heard of once a second.
        if why.contains("but 1 others") {
            break;
        }
    }
    // The others' tasks are not concerned.
    while pool.hosts().is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(pool.apply(|| 7, ()), Ok(7));
    assert!(pool.function::<(), ()>("no.name").is_err());
    let unfit = Agent::builder("nats://127.0.0.1:1").register("no name", id).slots(1).start();
    assert!(unfit.unwrap_err().to_string().contains("no name of a function"));
}
