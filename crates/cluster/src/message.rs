//! What coordinators and agents say to each other, in `wire`'s form.
//!
//! It comes from a network: everything is decoded with checks, and nothing of it is believed that could be wrong without
//! harm to memory. What a task's function is, is checked before it is called (`agent`).

use std::time::Duration;

use bytes::Bytes;
use pool::{TaskError, engine::Terms};
use proc_core::{
    CrashReport, Panic,
    function::{CallError, Function},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::TypeInfo;

use crate::names::QueueName;

/// The first byte of each message. It is another one for each change of a message, since an agent may be another build.
pub(crate) const VERSION: u8 = 7;
/// That of a message in the place of which there is a stub.
const STUB: u8 = 4;
/// That of several messages in one.
const SEVERAL: u8 = 5;

/// The header of a task that says how many hosts were lost with it while it was part of a batch.
pub(crate) const N_LOST: &str = "Hosts-Lost";

/// A task: one or several calls of one function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Parcel {
    /// The subject says so, too.
    pub(crate) queue: QueueName,
    /// The coordinator that wants the verdict.
    pub(crate) coordinator: String,
    /// The coordinator's number of it.
    pub(crate) task: u64,
    /// A place in the build whose queue it is. In that of a function there is none.
    pub(crate) function: Option<Function>,
    pub(crate) terms: ParcelTerms,
    /// Of a job's task, whose verdict the server keeps: what tells it from all others.
    pub(crate) fingerprint: Option<u64>,
    /// Packed arguments of each call.
    pub(crate) calls: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ParcelTerms {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) name: Option<String>,
    /// How often it may be given to another host after one was lost.
    pub(crate) host_retries: u32,
}

impl ParcelTerms {
    pub(crate) fn new(terms: Terms, host_retries: u32) -> Self {
        let Terms { timeout, retries, memory_limit, name } = terms;
        Self { timeout, retries, memory_limit, name: name.map(|name| name.to_string()), host_retries }
    }
}

impl From<ParcelTerms> for Terms {
    fn from(terms: ParcelTerms) -> Self {
        let ParcelTerms { timeout, retries, memory_limit, name, .. } = terms;
        Self { timeout, retries, memory_limit, name: name.map(Into::into) }
    }
}

/// How a task ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) task: u64,
    /// Of a job's task, the parcel's; else 0.
    pub(crate) fingerprint: u64,
    /// How long its calls took.
    pub(crate) busy: Duration,
    /// Which build of the program ran them, if one has failed: backtraces are places in it.
    pub(crate) build: Option<String>,
    /// One end of each call; or one for all of them.
    pub(crate) ends: Ends,
}

impl Verdict {
    /// Whether no call has failed.
    pub(crate) fn has_values(&self) -> bool {
        self.ends.are_values()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ends {
    Each(Vec<End>),
    All(Box<End>),
    /// None: the task came with others, and was not begun. It is to be given alone.
    GivenBack {
        /// How many hosts were lost with it.
        n_lost: u64,
    },
}

impl Ends {
    /// Whether no call has failed.
    pub(crate) fn are_values(&self) -> bool {
        matches!(self, Self::Each(ends) if ends.iter().all(|end| matches!(end, End::Value(_))))
    }
}

/// How one call ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// With a value, packed.
    Value(Vec<u8>),
    Failed(CallError),
    WorkerDied {
        pid: u32,
        signal: Option<i32>,
        code: Option<i32>,
        /// The crash report, in a form of its own: one that is spoilt spoils nothing else.
        crash: Option<Vec<u8>>,
        task: Option<String>,
    },
    TimedOut,
    MemoryLimit,
    Quarantined,
    Cancelled,
    HostLost {
        n_given: u64,
    },
    /// An agent's reason for not running it, or for not sending what came of it.
    Refused(String),
}

impl End {
    /// Of a call that came to nothing in a local pool.
    pub(crate) fn of(why: TaskError) -> Self {
        match why {
            TaskError::WorkerDied { pid, signal, code, crash, task } => {
                let crash = crash.and_then(|crash| crash.to_bytes());
                Self::WorkerDied { pid, signal, code, crash, task }
            }
            TaskError::TimedOut => Self::TimedOut,
            TaskError::MemoryLimit => Self::MemoryLimit,
            TaskError::Quarantined => Self::Quarantined,
            TaskError::Cancelled => Self::Cancelled,
            why => Self::Refused(why.to_string()),
        }
    }

    /// The packed value. Whether the agent runs the same build says what its backtraces mean here.
    ///
    /// # Errors
    /// What there is instead.
    pub(crate) fn into_value(self, is_same_build: bool) -> Result<Vec<u8>, TaskError> {
        Err(match self {
            Self::Value(packed) => return Ok(packed),
            Self::Failed(CallError::Panicked(panic)) => {
                let backtrace = panic.backtrace.from_another_machine(is_same_build);
                Panic { backtrace, ..panic }.into()
            }
            Self::Failed(why) => why.into(),
            Self::WorkerDied { pid, signal, code, crash, task } => {
                let crash = crash.and_then(|bytes| CrashReport::from_bytes(&bytes, is_same_build));
                TaskError::WorkerDied { pid, signal, code, crash, task }
            }
            Self::TimedOut => TaskError::TimedOut,
            Self::MemoryLimit => TaskError::MemoryLimit,
            Self::Quarantined => TaskError::Quarantined,
            Self::Cancelled => TaskError::Cancelled,
            Self::HostLost { n_given } => TaskError::HostLost { n_given },
            Self::Refused(why) => TaskError::Encode(why),
        })
    }
}

/// What an agent tells every second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Beat {
    /// Tells it from all other agents.
    pub(crate) agent: String,
    /// Whose tasks it takes.
    pub(crate) build: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) slots: usize,
    /// The names that it has registered functions under.
    pub(crate) functions: Vec<String>,
    /// Tasks that it has in hand.
    pub(crate) n_held: usize,
    /// It takes no further tasks, and is no more after this.
    pub(crate) leaves: bool,
}

/// What coordinators tell all agents.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Control {
    /// One takes back one of its tasks, or all.
    Recall { coordinator: String, task: Option<u64> },
    /// There may be a consumer where there was none.
    Opened,
}

/// How many bytes one of several messages takes where they are joined.
pub(crate) fn len_joined(message: &Bytes) -> usize {
    message.len() + size_of::<u64>()
}

/// Several messages as one.
pub(crate) fn join<'a>(messages: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut all = vec![SEVERAL];
    for message in messages {
        all.extend_from_slice(&(message.len() as u64).to_le_bytes());
        all.extend_from_slice(message);
    }
    all.into()
}

/// The messages that were joined; `None` for what is something else.
pub(crate) fn split(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = bytes.strip_prefix(&[SEVERAL])?;
    let mut all = Vec::new();
    while let Some((len, more)) = rest.split_first_chunk() {
        let (message, more) = more.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        all.push(message);
        rest = more;
    }
    rest.is_empty().then_some(all)
}

/// # Errors
/// What the types' own `Serialize` reports, which have nothing to report.
pub(crate) fn encode<T: Serialize + DeserializeOwned>(message: &T) -> Result<Bytes, wire::Error> {
    let mut bytes = vec![VERSION];
    wire::encode(TypeInfo::of::<T>(), message, &mut bytes)?;
    Ok(bytes.into())
}

/// `None` for what is no such message.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode_as(VERSION, bytes)
}

/// A stub of type `T`, in the place of a message.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_stub<T: Serialize + DeserializeOwned>(stub: &T) -> Result<Bytes, wire::Error> {
    let mut bytes = vec![STUB];
    wire::encode(TypeInfo::of::<T>(), stub, &mut bytes)?;
    Ok(bytes.into())
}

/// `None` for what is no stub.
pub(crate) fn decode_stub<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode_as(STUB, bytes)
}

fn decode_as<T: DeserializeOwned>(first: u8, bytes: &[u8]) -> Option<T> {
    let (found, bytes) = bytes.split_first()?;
    (*found == first).then(|| wire::decode(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_messages_are_split_and_garbage_is_not() {
        for n in 0..4_usize {
            let messages: Vec<Bytes> = (0..n).map(|i| vec![i as u8; i * 100].into()).collect();
            let joined = join(messages.iter());
            assert_eq!(split(&joined).unwrap(), messages);
            for len in 0..joined.len() {
                assert!(split(&joined[..len]).is_none_or(|part| part.len() < n.max(1)));
            }
        }
        for garbage in [&[][..], &[SEVERAL, 1], &[0; 40], &[&[SEVERAL][..], &[0xff; 40]].concat()] {
            assert!(split(garbage).is_none());
        }
    }

    #[test]
    fn spoilt_crash_report_is_dropped_and_its_task_has_died() {
        let end = |crash| End::WorkerDied { pid: 7, signal: Some(11), code: None, crash, task: None };
        for spoilt in [vec![], vec![0xff; 100], vec![7; 1 << 20]] {
            let died = end(Some(spoilt)).into_value(true);
            assert!(matches!(died, Err(TaskError::WorkerDied { pid: 7, signal: Some(11), crash: None, .. })));
        }
    }

    #[test]
    fn garbage_is_no_message() {
        let beat = Beat {
            agent: "a".into(),
            build: "b".into(),
            host: "h".into(),
            pid: 7,
            slots: 2,
            functions: vec!["f".into()],
            n_held: 1,
            leaves: false,
        };
        let bytes = encode(&beat).unwrap();
        assert_eq!(decode::<Beat>(&bytes).unwrap().pid, 7);
        assert!(decode::<Beat>(&[]).is_none());
        for len in 0..bytes.len() {
            assert!(decode::<Beat>(&bytes[..len]).is_none());
        }
        let mut later = bytes.to_vec();
        later[0] += 1;
        assert!(decode::<Beat>(&later).is_none());
    }
}
