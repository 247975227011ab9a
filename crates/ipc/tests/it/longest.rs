//! The longest waits that a `Duration` can say are waits, and no errors.

use std::{thread, time::Duration};

use ipc::{Client, JoinableQueue, Listener, Queue, channel, pipe};
use test_support::watchdog;

/// Beyond what some clocks count: 584 years in nanoseconds, and more seconds than there are in a signed number.
const SECONDS: [u64; 5] = [18_446_744_074, 1 << 40, i64::MAX as u64 - 1, i64::MAX as u64, u64::MAX];

#[test]
fn the_longest_waits_are_waits() {
    let _dog = watchdog(Duration::from_secs(60));
    for seconds in SECONDS {
        let longest = Duration::from_secs(seconds);
        let queue = Queue::new(1).unwrap();
        let joinable = JoinableQueue::new(1).unwrap();
        let (sender, receiver) = channel().unwrap();
        let (here, there) = pipe().unwrap();
        let name = format!("\0ipc-longest-{}-{seconds}", std::process::id());
        let listener = Listener::<u64>::bind(name.as_str()).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                // Both sides wait for each other.
                for n in 0..3 {
                    queue.put_timeout(n, longest).unwrap();
                    joinable.put_timeout(n, longest).unwrap();
                    sender.send_timeout(&n, longest).unwrap();
                    assert!(here.poll(Some(longest)).unwrap());
                    assert_eq!(here.recv_timeout(longest).unwrap(), n);
                }
                assert!(joinable.join_timeout(longest).unwrap());
                Client::connect_timeout::<u64>(name.as_str(), longest).unwrap().send(&5).unwrap();
            });
            for n in 0..3 {
                assert_eq!(queue.get_timeout(longest).unwrap(), n, "{seconds}");
                joinable.get_timeout(longest).unwrap().task_done();
                assert_eq!(receiver.recv_timeout(longest).unwrap(), n, "{seconds}");
                there.send_timeout(&n, longest).unwrap();
            }
            let client = listener.accept_timeout(longest).unwrap().unwrap();
            assert_eq!(client.recv_timeout(longest).unwrap(), 5, "{seconds}");
        });
    }
}
