//! What the server keeps of a job: its tasks, and their results.

use std::collections::{HashMap, HashSet};

use async_nats::Client;
use futures_util::{StreamExt as _, stream};

use crate::{
    link::{self, Refusal},
    message::{self, Verdict},
    names::{JobName, Names, QueueName},
};

/// Results that are asked for at a time.
const AT_ONCE: usize = 64;

/// What there is of a job when a program begins with it.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    /// By the numbers of their tasks.
    pub(crate) verdicts: HashMap<u64, Verdict>,
    /// Tasks that lie on the server, or that an agent has in hand.
    pub(crate) pending: HashSet<u64>,
}

/// Looks what there is of a job. Tasks that an earlier build has given are taken back.
pub(crate) async fn begin(client: &Client, names: &Names, job: &JobName, queue: &QueueName) -> Result<Begun, Refusal> {
    // The tasks first: one that ends meanwhile is in both.
    let mut pending = HashSet::new();
    for subject in link::subjects(client, &names.stream(), &names.all_tasks_of_job(job)).await? {
        match number(&subject) {
            Some(task) if names.queue_of(&subject) == Some(queue.as_str()) => drop(pending.insert(task)),
            _ => link::purge(client, &names.stream(), &subject).await?,
        }
    }
    let there = results(client, names, job).await?;
    let fetched = fetch(client, names, job, there).await;
    let verdicts = fetched.into_iter().filter_map(|(task, verdict)| Some((task, verdict?))).collect();
    Ok(Begun { verdicts, pending })
}

/// The tasks whose results are kept.
async fn results(client: &Client, names: &Names, job: &JobName) -> Result<HashSet<u64>, Refusal> {
    let subjects = link::subjects(client, &names.results_stream(), &names.all_kept(job)).await?;
    Ok(subjects.iter().filter_map(|subject| number(subject)).collect())
}

/// The results that could be had; `None` for what is no verdict.
async fn fetch(
    client: &Client,
    names: &Names,
    job: &JobName,
    tasks: impl IntoIterator<Item = u64>,
) -> HashMap<u64, Option<Verdict>> {
    let fetch = async |task: u64| {
        let kept = link::last(client, &names.results_stream(), &names.kept(job.as_str(), task)).await.ok()??;
        Some((task, message::decode::<Verdict>(&kept)))
    };
    let all = stream::iter(tasks).map(fetch).buffer_unordered(AT_ONCE);
    all.filter_map(async |fetched| fetched).collect().await
}

/// What is found of tasks that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Results that were not heard of.
    pub(crate) verdicts: Vec<Verdict>,
    /// Tasks in the place of whose results there is something else.
    pub(crate) spoilt: Vec<u64>,
    /// Tasks that are nowhere.
    pub(crate) lost: Vec<u64>,
}

/// Looks what there is of tasks that are waited for.
pub(crate) async fn compare(
    client: &Client,
    names: &Names,
    job: &JobName,
    waited_for: Vec<u64>,
) -> Result<Found, Refusal> {
    let pending = link::subjects(client, &names.stream(), &names.all_tasks_of_job(job)).await?;
    let pending: HashSet<u64> = pending.iter().filter_map(|subject| number(subject)).collect();
    let there = results(client, names, job).await?;
    let (ended, rest): (Vec<u64>, Vec<u64>) = waited_for.into_iter().partition(|task| there.contains(task));
    let lost = rest.into_iter().filter(|task| !pending.contains(task)).collect();
    let mut found = Found { lost, ..Found::default() };
    for (task, verdict) in fetch(client, names, job, ended).await {
        match verdict.filter(|verdict| verdict.task == task) {
            Some(verdict) => found.verdicts.push(verdict),
            None => found.spoilt.push(task),
        }
    }
    Ok(found)
}

/// The task that a subject ends with.
pub(crate) fn number(subject: &str) -> Option<u64> {
    subject.rsplit('.').next()?.parse().ok()
}
