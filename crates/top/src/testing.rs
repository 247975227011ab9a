//! A made-up program, for tests of what is made from a look.

use crate::model::{
    BoardRow, For, HolderRow, LockRow, OtherRow, PipeRow, PoolRow, ProcessRow, QueueRow, Role, Seen, Snapshot, TaskRow,
    ThreadRow, WaitRow, WorkerRow,
};

pub(crate) fn process(pid: u32, state: char) -> ProcessRow {
    ProcessRow {
        pid,
        parent: 1,
        depth: u16::from(pid > 1),
        name: format!("p{pid}"),
        role: Role::Process,
        state,
        cpu_ms: 1500,
        cpu_percent: Some(50.0),
        private_bytes: 3 << 20,
        shared_bytes: 5 << 20,
        age_ms: 61_000,
        threads: vec![ThreadRow { tid: pid, name: format!("p{pid}"), state }],
        hidden: None,
    }
}

pub(crate) fn wait(pid: u32, r#for: For, what: &str, any: &[u32]) -> WaitRow {
    WaitRow {
        pid,
        tid: pid,
        name: format!("p{pid}"),
        r#for,
        id: 9,
        offset: 512,
        what: what.into(),
        holder: None,
        any: any.to_vec(),
        is_assumed: false,
        seen: Seen { ms: 1, is_older: true },
    }
}

fn worker(pid: u32, function: Option<&str>) -> WorkerRow {
    let task = function.map(|function| TaskRow {
        number: 7,
        function: function.into(),
        n_items: None,
        seen: Seen { ms: 4200, is_older: false },
    });
    WorkerRow {
        pid,
        lane: u64::from(pid) + 1000,
        name: format!("Pool-{pid}"),
        is_asleep: task.is_none(),
        n_ready: 2,
        n_over: 40,
        task,
    }
}

pub(crate) fn snapshot() -> Snapshot {
    let holder = HolderRow { tid: 3, pid: Some(3), name: "p3".into(), seen: Seen { ms: 900, is_older: true } };
    Snapshot {
        at_ms: 1_000_000,
        root: 1,
        command: "program --with arguments".into(),
        processes: vec![ProcessRow { role: Role::Owner, ..process(1, 'S') }, process(2, 'S'), process(3, 'T')],
        pools: vec![PoolRow {
            owner: 1,
            name: "Pool".into(),
            workers: vec![worker(2, Some("program::work")), worker(3, None)],
            n_given: 4,
            done_per_second: Some(12.5),
            board: Some(BoardRow {
                n_waiting: 30,
                n_done: 500,
                n_failed: 1,
                retried: 2,
                restarts: 3,
                n_wanted: 2,
                n_deaths: 3,
                deaths: vec![(77, "killed by signal 9".into())],
            }),
            n_gone: 0,
            n_come: 0,
        }],
        queues: vec![QueueRow {
            id: 9,
            depth: 4,
            capacity: Some(4),
            is_closed: false,
            memory_bytes: 1 << 20,
            n_put: 100,
            n_taken: 96,
            put_per_second: None,
            taken_per_second: None,
            leases: true,
            leased: vec![(3, 2)],
            n_orphans: 0,
            n_dead_letters: 1,
            sleeps: [false, true],
            holders: vec![1, 2, 3],
        }],
        pipes: vec![PipeRow {
            id: 11,
            direction: 0,
            n_bytes: 64,
            tail: 640,
            head: 576,
            in_per_second: None,
            out_per_second: None,
            reader: Some(2),
            writer: Some(1),
            sleeping_reader: None,
            has_sleeping_writer: false,
            holders: vec![1, 2],
        }],
        locks: vec![LockRow {
            id: 12,
            kind: "Lock".into(),
            label: String::new(),
            holders: vec![holder],
            is_inconsistent: true,
            has_waiters: true,
            detail: String::new(),
            n_turns: 5,
            turns_per_second: None,
            users: vec![1, 2, 3],
        }],
        others: vec![OtherRow {
            id: 13,
            name: "ipc-queue".into(),
            what: "a queue that is garbled: its header contradicts itself".into(),
            memory_bytes: 4096,
            is_garbled: true,
            holders: vec![1],
        }],
        waits: vec![wait(2, For::Room, "queue:9", &[1, 3])],
        findings: Vec::new(),
        notes: Vec::new(),
    }
}
