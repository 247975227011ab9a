//! Queues where something is scarce, or large.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use ipc::{GetError, PutError, Queue, TryPutError};
use proc_core::{Process, Resource};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);

/// Makes queues until it cannot; how many, and why no more.
fn make_queues() -> (usize, String) {
    let mut queues = Vec::new();
    loop {
        match Queue::<u64>::new(16) {
            Ok(queue) => {
                queue.put(queues.len() as u64).unwrap();
                queues.push(queue);
            }
            Err(e) => {
                assert!(queues.iter().enumerate().all(|(n, queue)| queue.get() == Ok(n as u64)));
                return (queues.len(), e.to_string());
            }
        }
    }
}

#[test]
fn a_queue_takes_one_descriptor() {
    let _dog = watchdog(LIMIT);
    let child = Process::builder().limit(Resource::OpenFiles, 1024).spawn(make_queues, ()).unwrap();
    let (queues, why) = child.join().unwrap();
    assert!(queues >= 1000, "{queues} queues, then {why}");
    assert!(why.contains("EMFILE") || why.contains("open files"), "{why}");
}

/// Lets every `fallocate` of this process fail, as a full system does.
pub(crate) fn run_out_of_memory() {
    #[allow(unsafe_code)]
    fn install(filter: &mut [libc::sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: takes integers only.
        nix::errno::Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
        // SAFETY: `program` and the filter outlive the call.
        let rc = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        nix::errno::Errno::result(rc)?;
        Ok(())
    }
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    install(&mut [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_fallocate as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSPC as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ])
    .unwrap();
}

fn put_without_memory(queue: Queue<Vec<u64>>) {
    queue.put(vec![1; 10_000]).unwrap();
    run_out_of_memory();
    let kind = Queue::<u8>::new(4).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::StorageFull);
    // The second has to lie where there is no memory yet.
    assert_eq!(queue.put(vec![2; 20_000]), Err(PutError::System(vec![2; 20_000], ErrorKind::StorageFull)));
    assert_eq!(queue.try_put(vec![2; 20_000]), Err(TryPutError::System(vec![2; 20_000], ErrorKind::StorageFull)));
    assert!(queue.loan(1 << 20).is_err());
    // What needs none goes on.
    queue.put(vec![3; 4]).unwrap();
}

#[test]
fn want_of_memory_is_an_error_of_one_message() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::new(8).unwrap();
    Process::spawn(put_without_memory, (queue.clone(),)).unwrap().join().unwrap();
    assert_eq!(queue.get().unwrap(), vec![1; 10_000]);
    assert_eq!(queue.get().unwrap(), vec![3; 4]);
    queue.put(vec![2; 20_000]).unwrap();
    assert_eq!(queue.get().unwrap(), vec![2; 20_000]);
}

#[test]
fn a_process_that_put_much_can_be_joined_before_anybody_gets_it() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<Vec<u8>>::new(0).unwrap();
    let put = |queue: Queue<Vec<u8>>| queue.put(vec![7; 1 << 20]).unwrap();
    Process::spawn(put, (queue.clone(),)).unwrap().join().unwrap();
    assert_eq!(queue.get().unwrap(), vec![7; 1 << 20]);
}

#[test]
fn a_message_beyond_the_limit_comes_back() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<Vec<u8>>::builder().maxsize(2).max_message_bytes(100_000).build().unwrap();
    assert!(matches!(queue.put(vec![1; 200_000]), Err(PutError::TooLarge(message)) if message.len() == 200_000));
    assert!(matches!(queue.loan(200_000), Err(PutError::TooLarge(()))));
    queue.put(vec![1; 90_000]).unwrap();
    assert_eq!(queue.get().unwrap().len(), 90_000);
}

#[test]
fn a_queue_that_grows_ends_where_its_sections_do() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::builder().first_section(1).build().unwrap();
    for _ in 0..2 {
        let mut n = 0u64;
        while queue.try_put(n).is_ok() {
            n += 1;
        }
        assert!(queue.is_full() && n >= 4096 && queue.len() as u64 == n);
        assert!(queue.drain().eq(0..n));
        assert!(queue.is_empty() && !queue.is_full());
    }
}

/// Where there is no memory to grow, `put` gives the message back, and what is in the queue stays.
#[test]
fn a_queue_that_cannot_grow_keeps_what_it_has() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<u64>::new(0).unwrap();
    let fill = |queue: Queue<u64>| {
        run_out_of_memory();
        let mut n = 0;
        loop {
            match queue.put(n) {
                Ok(()) => n += 1,
                Err(PutError::System(back, ErrorKind::StorageFull)) if back == n => return n,
                Err(e) => panic!("{e}"),
            }
        }
    };
    let n = Process::spawn(fill, (queue.clone(),)).unwrap().join().unwrap();
    assert!(n > 0 && queue.len() as u64 == n);
    // Others have memory.
    queue.put_many(n..100_000).unwrap();
    assert!(queue.drain().eq(0..100_000));
}

#[test]
fn loans_need_not_be_sent_and_can_be_shortened() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<()>::new(2).unwrap();
    drop(queue.loan(1 << 20).unwrap());
    let mut loan = queue.loan(1 << 20).unwrap();
    loan[..3].copy_from_slice(b"abc");
    loan.truncate(3);
    loan.send().unwrap();
    assert_eq!(queue.get_bytes().unwrap(), b"abc");
    queue.close();
    assert!(matches!(queue.loan(5).unwrap().send(), Err(PutError::Closed(()))));
    assert_eq!(queue.get_bytes(), Err(GetError::Closed));
}

#[test]
#[ignore = "takes 3 GiB of memory"]
fn a_message_of_a_gibibyte_goes_in_one_piece() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<()>::new(2).unwrap();
    let put = |queue: Queue<()>| queue.put_bytes(&vec![5; 1 << 30]).unwrap();
    let child = Process::spawn(put, (queue.clone(),)).unwrap();
    let message = queue.get_bytes().unwrap();
    assert!(message.len() == 1 << 30 && message.iter().all(|byte| *byte == 5));
    child.join().unwrap();
}
