//! What things are called on the server.

use std::{fmt::Write as _, fs::File, hash::Hasher as _, io::Read as _, sync::OnceLock};

use pool::PoolError;
use proc_core::function;
use serde::{Deserialize, Serialize};

/// The name of a pool that was given none.
pub(crate) const DEFAULT_POOL: &str = "default";

/// Which tasks: a word that is part of subjects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct QueueName(String);

/// What the queue of a function begins with. That of a build is its id, which has no `-`. It has the version of messages, so that
/// the server keeps tasks from agents that cannot read them.
const FUNCTION: &str = "f7-";

impl QueueName {
    /// Tasks that name functions by their places in one build of the program.
    pub(crate) fn of_build(build: &str) -> Self {
        Self(build.to_owned())
    }

    /// Tasks of the function that agents have registered under a name.
    ///
    /// # Errors
    /// If the name is not made of letters, digits, `_` and `-`.
    pub(crate) fn of_function(name: &str) -> Result<Self, PoolError> {
        if is_name(name) {
            Ok(Self(format!("{FUNCTION}{name}")))
        } else {
            Err(PoolError::Cluster(format!("{name:?} is no name of a function: up to 64 letters, digits, `_` and `-`")))
        }
    }

    /// The function's name; `None` for that of a build.
    pub(crate) fn function(&self) -> Option<&str> {
        self.0.strip_prefix(FUNCTION)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a job's tasks have in the place of a coordinator: no coordinator has such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobName(String);

/// What the name of a job begins with.
const JOB: &str = "j-";

impl JobName {
    /// # Errors
    /// If the name is not made of letters, digits, `_` and `-`.
    pub(crate) fn new(name: &str) -> Result<Self, PoolError> {
        if is_name(name) {
            Ok(Self(format!("{JOB}{name}")))
        } else {
            Err(PoolError::Cluster(format!("{name:?} is no name of a job: up to 64 letters, digits, `_` and `-`")))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether what stands in the place of a coordinator is a job.
pub(crate) fn is_job(coordinator: &str) -> bool {
    coordinator.starts_with(JOB)
}

/// The names of one pool, for one build of the program.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pool: String,
    build: &'static str,
}

impl Names {
    /// # Errors
    /// If `pool` is not made of letters, digits, `_` and `-`.
    pub(crate) fn new(pool: &str) -> Result<Self, PoolError> {
        if !is_name(pool) {
            let why = format!("{pool:?} is no name of a pool: up to 64 letters, digits, `_` and `-`");
            return Err(PoolError::Cluster(why));
        }
        Ok(Self { pool: pool.to_owned(), build: build()? })
    }

    pub(crate) fn build(&self) -> &'static str {
        self.build
    }

    pub(crate) fn stream(&self) -> String {
        format!("MP_{}", self.pool)
    }

    /// All tasks of the pool, of whatever build.
    pub(crate) fn all_tasks(&self) -> String {
        format!("mp.{}.t.>", self.pool)
    }

    /// The queue of this build.
    pub(crate) fn own_queue(&self) -> QueueName {
        QueueName::of_build(self.build)
    }

    /// The tasks of a queue.
    pub(crate) fn tasks(&self, queue: &QueueName) -> String {
        format!("mp.{}.t.{}.>", self.pool, queue.0)
    }

    /// Those of them that one coordinator has given.
    pub(crate) fn tasks_of(&self, queue: &QueueName, coordinator: &str) -> String {
        format!("mp.{}.t.{}.{coordinator}", self.pool, queue.0)
    }

    /// All tasks that one coordinator has given.
    pub(crate) fn all_tasks_of(&self, coordinator: &str) -> String {
        format!("mp.{}.t.*.{coordinator}", self.pool)
    }

    /// All tasks of a job.
    pub(crate) fn all_tasks_of_job(&self, job: &JobName) -> String {
        format!("mp.{}.t.*.{}.*", self.pool, job.0)
    }

    /// What keeps the results of jobs.
    pub(crate) fn results_stream(&self) -> String {
        format!("MR_{}", self.pool)
    }

    /// The results of all jobs.
    pub(crate) fn all_results(&self) -> String {
        format!("mp.{}.d.>", self.pool)
    }

    /// Those of one job.
    pub(crate) fn all_kept(&self, job: &JobName) -> String {
        format!("mp.{}.d.{}.*", self.pool, job.0)
    }

    /// That of one task of a job, by the name that its tasks have in the place of a coordinator.
    pub(crate) fn kept(&self, job: &str, task: u64) -> String {
        format!("mp.{}.d.{job}.{task}", self.pool)
    }

    /// Which queue a task was in, by its subject.
    pub(crate) fn queue_of<'s>(&self, subject: &'s str) -> Option<&'s str> {
        let rest = subject.strip_prefix("mp.")?.strip_prefix(&self.pool)?.strip_prefix(".t.")?;
        Some(rest.split_once('.')?.0)
    }

    /// The consumer by which agents take the tasks of a queue.
    pub(crate) fn consumer(&self, queue: &QueueName) -> String {
        format!("q-{}", queue.0)
    }

    /// Where agents send verdicts to.
    pub(crate) fn results(&self, coordinator: &str) -> String {
        format!("mp.{}.r.{coordinator}", self.pool)
    }

    /// Where a coordinator is asked for the whole of a task.
    pub(crate) fn whole(&self, coordinator: &str, task: &str) -> String {
        format!("mp.{}.w.{coordinator}.{task}", self.pool)
    }

    /// Where agents tell that they live.
    pub(crate) fn beats(&self) -> String {
        format!("mp.{}.hb.{}", self.pool, self.build)
    }

    /// Where all agents of the pool tell that, of whatever build.
    pub(crate) fn all_beats(&self) -> String {
        format!("mp.{}.hb.*", self.pool)
    }

    /// Where coordinators take tasks back.
    pub(crate) fn control(&self) -> String {
        format!("mp.{}.ctl", self.pool)
    }
}

/// Whether users may call something so: one of our letters and a hyphen before it, it is a word still.
fn is_name(name: &str) -> bool {
    name.len() <= 64 && is_word(name)
}

/// Whether it can be one word of a subject, and no other subject be meant by it.
pub(crate) fn is_word(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.len() <= 64 + FUNCTION.len() && name.chars().all(is_fit)
}

/// Of a build's id, which is a hash: two builds have the same by no accident. A subject stands in each message and each
/// acknowledgement, and in each server's log; servers read it letter by letter.
const ID_BYTES: usize = 8;

/// Tells this build of the program from every other: by what the linker wrote into it, or by all that it consists of.
fn build() -> Result<&'static str, PoolError> {
    static BUILD: OnceLock<Result<String, String>> = OnceLock::new();
    let build = BUILD.get_or_init(|| match function::build_id() {
        Some(id) => Ok(hex(&id[..id.len().min(ID_BYTES)])),
        None => hash_of_program().map_err(|e| format!("the program's own file cannot be read: {e}")),
    });
    build.as_deref().map_err(|why| PoolError::Cluster(why.clone()))
}

fn hash_of_program() -> std::io::Result<String> {
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = std::hash::DefaultHasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finish().to_be_bytes())),
            n => hasher.write(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_reach_other_subjects() {
        for name in ["", "a.b", "a*", ">", "a b", "é", &"x".repeat(65)] {
            assert!(matches!(Names::new(name), Err(PoolError::Cluster(_))), "{name}");
        }
        for name in ["", "a.b", "a*", ">", "a b", &"x".repeat(65)] {
            assert!(matches!(QueueName::of_function(name), Err(PoolError::Cluster(_))), "{name}");
            assert!(matches!(JobName::new(name), Err(PoolError::Cluster(_))), "{name}");
        }
        let longest = "x".repeat(64);
        assert!(is_word(JobName::new(&longest).unwrap().as_str()), "agents refuse its tasks");
        assert!(is_word(QueueName::of_function(&longest).unwrap().as_str()), "agents refuse its tasks");
        let names = Names::new("words-2").unwrap();
        assert_eq!(names.stream(), "MP_words-2");
        let queue = QueueName::of_function("count").unwrap();
        assert_eq!(names.queue_of(&names.tasks_of(&queue, "c")), Some("f7-count"));
        assert_eq!(queue.function(), Some("count"));
        assert_eq!(FUNCTION, format!("f{}-", crate::message::VERSION));
        assert_eq!((names.own_queue().function(), names.queue_of("mp.words.t.f7-count.c")), (None, None));
    }
}
