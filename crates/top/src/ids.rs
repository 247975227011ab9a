//! Which processes and threads the ids in shared memory mean.
//!
//! They are those of the writer's pid namespace: in a container, 2 is another process than outside. The kernel says of each
//! thread what its id is in its own namespace.

use std::collections::{HashMap, HashSet};

use crate::{
    model::{HolderRow, ProcessRow, Seen},
    process,
};

pub(crate) struct Ids {
    /// By id as seen from here: the process, and the thread's name.
    threads: HashMap<u32, (u32, String)>,
    /// The pid namespaces of processes that are in another one than this program.
    namespaces: HashMap<u32, u64>,
    /// By namespace and id there: the id as seen from here.
    inner: HashMap<(u64, u32), u32>,
}

impl Ids {
    pub(crate) fn of<'a>(rows: impl Iterator<Item = &'a ProcessRow>) -> Self {
        let mut ids = Self { threads: HashMap::new(), namespaces: HashMap::new(), inner: HashMap::new() };
        let own = process::pid_namespace("self");
        for row in rows {
            let namespace = process::pid_namespace(&row.pid.to_string()).filter(|of| Some(*of) != own);
            ids.namespaces.extend(namespace.map(|namespace| (row.pid, namespace)));
            for thread in &row.threads {
                let is_first = thread.tid == row.pid;
                let name = if is_first { row.name.clone() } else { format!("{}/{}", row.name, thread.name) };
                ids.threads.insert(thread.tid, (row.pid, name));
                let there = namespace.and_then(|of| Some((of, process::id_in_namespace(row.pid, thread.tid)?)));
                ids.inner.extend(there.map(|there| (there, thread.tid)));
            }
        }
        ids
    }

    /// A thread's name, if it is in sight.
    pub(crate) fn name(&self, tid: u32) -> Option<&str> {
        self.threads.get(&tid).map(|(_, name)| name.as_str())
    }

    /// The id as seen from here of what is called `id` in memory that `users` have; `None` if that may be several, or
    /// none in sight.
    pub(crate) fn outer(&self, id: u32, users: &[u32]) -> Option<u32> {
        let namespaces: HashSet<Option<u64>> = users.iter().map(|pid| self.namespaces.get(pid).copied()).collect();
        let is_only_ours = namespaces.iter().all(Option::is_none);
        let mut found = namespaces.into_iter().filter_map(|namespace| match namespace {
            Some(namespace) => self.inner.get(&(namespace, id)).copied(),
            None => (is_only_ours || self.threads.contains_key(&id)).then_some(id),
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// The thread that is called `tid` in memory that `users` have.
    pub(crate) fn holder(&self, tid: u32, users: &[u32]) -> HolderRow {
        let outer = self.outer(tid, users);
        let known = outer.and_then(|outer| self.threads.get(&outer));
        let name = known.map_or_else(|| "no thread in sight".into(), |(_, name)| name.clone());
        HolderRow { tid: outer.unwrap_or(tid), pid: known.map(|(pid, _)| *pid), name, seen: Seen::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// 1 and 5 are outside; 10, 11 in a container as 1 and 2; 20 in another as 1.
    fn ids() -> Ids {
        let rows: Vec<ProcessRow> = [1, 5, 10, 11, 20].map(|pid| testing::process(pid, 'S')).into();
        let mut ids = Ids::of(rows.iter());
        ids.namespaces = HashMap::from([(10, 70), (11, 70), (20, 80)]);
        ids.inner = HashMap::from([((70, 1), 10), ((70, 2), 11), ((80, 1), 20)]);
        ids
    }

    #[test]
    fn an_id_is_one_of_its_namespace() {
        let ids = ids();
        assert_eq!(ids.outer(5, &[1, 5]), Some(5));
        assert_eq!(ids.outer(6, &[1, 5]), Some(6), "out of sight is not nobody");
        assert_eq!(ids.outer(2, &[10, 11]), Some(11));
        assert_eq!(ids.outer(5, &[10, 11]), None);
        let holder = ids.holder(2, &[10]);
        assert_eq!((holder.tid, holder.pid, holder.name.as_str()), (11, Some(11), "p11"));
        assert_eq!(ids.holder(9, &[10]).pid, None);
    }

    #[test]
    fn what_may_be_several_is_nobody() {
        let ids = ids();
        assert_eq!(ids.outer(1, &[10, 20]), None);
        assert_eq!(ids.outer(2, &[10, 20]), Some(11));
        assert_eq!(ids.outer(1, &[1, 10]), None);
        assert_eq!(ids.outer(5, &[5, 10]), Some(5));
        assert_eq!(ids.outer(2, &[5, 10]), Some(11));
    }
}
