//! What a coordinator does for the jobs that it has begun with.

use std::{
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use async_nats::Message;
use pool::PoolError;
use tokio::time::sleep;

use super::{
    jobs::Jobs,
    kept::{self, Begun, Found},
    queue::Queue,
    run::CoordinatorLoop,
    shared::Wake,
};
use crate::{
    large,
    link::{self, Refusal},
    message::{self, Control, Verdict},
    names::JobName,
};

/// Between two comparisons of the ledger with what the server has of jobs, which it lists task by task.
const AUDIT_OF_JOBS: Duration = Duration::from_secs(3);
/// Between two attempts to begin with one.
const PAUSE: Duration = Duration::from_millis(100);

impl CoordinatorLoop {
    /// Listens to what comes of a job, and looks what there is of it.
    pub(super) async fn begin(&mut self, jobs: &mut Jobs, queue: Arc<Queue>, tell: Sender<Result<Begun, PoolError>>) {
        let Some(job) = &queue.job else { return };
        let verdicts = self.client.subscribe(self.config.names.all_kept(&job.name)).await;
        let wholes = self.client.subscribe(self.config.names.whole(job.name.as_str(), "*")).await;
        let (Ok(verdicts), Ok(wholes)) = (verdicts, wholes) else { return };
        jobs.add(queue.clone(), verdicts, wholes);
        let (client, config) = (self.client.clone(), self.config.clone());
        tokio::spawn(async move {
            let Some(job) = &queue.job else { return };
            let deadline = Instant::now() + config.patience;
            let begun = loop {
                let begun = async {
                    link::set_up_results(&client, &config.names, &config.storage).await?;
                    kept::begin(&client, &config.names, &job.name, &queue.name).await
                };
                match begun.await {
                    // Servers of which one was lost say nothing until another one leads.
                    Err(Refusal::Silent(_)) if Instant::now() < deadline => sleep(PAUSE).await,
                    begun => break begun,
                }
            };
            // Fails if the caller does not wait for it any more.
            let _ = tell.send(begun.map_err(PoolError::from));
        });
    }

    /// Takes a job's tasks back, and removes what the server has of it.
    pub(super) async fn forget(&self, job: JobName, tell: Sender<Result<(), PoolError>>) {
        let recall = Control::Recall { coordinator: job.as_str().to_owned(), task: None };
        if let Ok(recall) = message::encode(&recall) {
            let _ = self.client.publish(self.shared.names.control(), recall).await;
        }
        let (client, config) = (self.client.clone(), self.config.clone());
        tokio::spawn(async move {
            let names = &config.names;
            let forgotten = async {
                link::purge(&client, &names.stream(), &names.all_tasks_of_job(&job)).await?;
                match link::purge(&client, &names.results_stream(), &names.all_kept(&job)).await {
                    Err(refusal) if refusal.is_not_found() => Ok(()),
                    outcome => outcome,
                }
            };
            let _ = tell.send(forgotten.await.map_err(PoolError::from));
        });
    }

    /// Records a verdict that the server keeps, if it is the first. That of another function, or of other arguments, is replaced.
    pub(super) fn judge_kept(&mut self, queue: &Arc<Queue>, verdict: Verdict) {
        self.gets_on = true;
        let Some(task) = queue.job.as_ref().and_then(|job| job.own_number(verdict.task)) else { return };
        let is_own = self.shared.state.lock().ledger.is_own(task, verdict.fingerprint);
        match is_own {
            Some(true) => drop(self.shared.end(task, || Ok(verdict))),
            Some(false) => self.replace(queue, task),
            None => {}
        }
    }

    /// Removes the result that is kept of a task, and gives the task once more.
    pub(super) fn replace(&self, queue: &Arc<Queue>, task: u64) {
        let (client, names, shared) = (self.client.clone(), self.config.names.clone(), self.shared.clone());
        let queue = queue.clone();
        tokio::spawn(async move {
            let (job, number) = queue.key(&shared.coordinator, task);
            // If that fails, the next comparison finds it once more.
            if link::purge(&client, &names.results_stream(), &names.kept(job, number)).await.is_ok() {
                shared.state.lock().ledger.give_again(&[task]);
                shared.wake(Wake::Tasks);
            }
        });
    }

    /// The same, of a job. Another program may have the task, and answers then.
    pub(super) async fn give_piece_of_job(&self, queue: &Queue, wanted: Message) {
        let (Some(job), Some(task), Some(reply)) = (&queue.job, kept::number(&wanted.subject), wanted.reply) else {
            return;
        };
        let Some(task) = job.own_number(task) else { return };
        let whole = self.shared.state.lock().ledger.whole(task);
        if let Some(whole) = whole {
            let _ = self.client.publish(reply, large::piece(&whole, &wanted.payload, self.client.max_payload())).await;
        }
    }

    /// Compares the ledger with what the server has of jobs.
    pub(super) fn audit_jobs(&mut self, queues: &[Arc<Queue>], now: Instant) {
        self.job_audits.retain(|audit| !audit.is_finished());
        if !self.job_audits.is_empty() || now.duration_since(self.jobs_audited) < AUDIT_OF_JOBS {
            return;
        }
        self.jobs_audited = now;
        for queue in queues {
            let Some(base) = queue.job.as_ref().map(|job| job.base) else { continue };
            let stored = self.shared.state.lock().ledger.stored_of(queue);
            let waited_for = stored.into_iter().map(|task| task - base).collect();
            let (client, config, shared) = (self.client.clone(), self.config.clone(), self.shared.clone());
            let (queue, found) = (queue.clone(), self.found.clone());
            self.job_audits.push(tokio::spawn(async move {
                let Some(job) = &queue.job else { return };
                match kept::compare(&client, &config.names, &job.name, waited_for).await {
                    Ok(Found { verdicts, spoilt, lost }) => {
                        let lost: Vec<u64> = lost.into_iter().map(|task| task + base).collect();
                        shared.state.lock().ledger.resubmit(&lost);
                        shared.wake(Wake::Tasks);
                        spoilt.into_iter().for_each(|task| shared.wake(Wake::Stale(queue.clone(), task + base)));
                        verdicts.into_iter().for_each(|verdict| _ = found.send((queue.clone(), verdict)));
                    }
                    Err(refusal) if refusal.is_not_found() => {
                        // If it cannot be made, the next comparison says so once more.
                        let _ = link::set_up_results(&client, &config.names, &config.storage).await;
                    }
                    Err(_) => {}
                }
            }));
        }
    }
}
