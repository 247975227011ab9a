//! Pools.

use crate::*;

#[test]
fn pool_map() {
    assert_says(&output("pool_map", &[]), "[1, 4, 9]");
}

#[test]
fn pool_sizes() {
    let said = output("pool_sizes", &[]);
    let runs = [(4, 5), (4, 6), (5, 6)].map(|(workers, tasks)| {
        let results: String = (0..tasks).map(|n| format!("Task {n} returned {}.\n", n * n)).collect();
        format!(
            "A pool of {workers} is given {tasks} tasks.\nWaiting for all tasks...\n{results}\
             All done, by no more than {workers} workers: true.\n"
        )
    });
    assert_eq!(said, runs.concat());
}

#[test]
fn pool_sleep() {
    let said = output("pool_sleep", &[]);
    assert_says(
        &said,
        "One after the other: # ms of sleep in # ms.
         There is a worker for each CPU: true.
         In the pool: # ms of sleep in # ms.",
    );
    let slept = number_after(&said, "other: ");
    assert_eq!(number_after(&said, "pool: "), slept);
    assert!(number_after(&said, "other: ") >= 200 && number_after(&said, "sleep in ") >= slept);
}

#[test]
fn pool_tour() {
    let said = output("pool_tour", &[]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]");
    let squares: Vec<String> = (0..10).map(|n| (n * n).to_string()).collect();
    assert_says_somehow(&lines[1..11].join("\n"), &squares.join("\n"));
    assert_says(&lines[11..12].join("\n"), "400");
    for words in ["we lacked patience and got a time-out", "for the moment, the pool remains available for more work"] {
        assert!(lines.contains(&words), "{said}");
    }
}

#[test]
fn pool_callback() {
    let said = output("pool_callback", &[]);
    for (n, root) in [(0, 0), (1, 1), (4, 2), (16, 4), (25, 5)] {
        assert!(said.contains(&format!("the root of {n} is {root}\n")), "{said}");
    }
    assert!(said.contains("no result for -9") && said.ends_with("all done: [0, 1, 2, 4, 5], and 1 failed\n"), "{said}");
}

#[test]
fn pool_crash() {
    let said = output("pool_crash", &[]);
    for words in ["WorkerDied", "signal: Some(9)", "TimedOut", "MemoryLimit", "nothing to take from", "Ok(42)"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn pool_initializer() {
    let said = output("pool_initializer", &[]);
    assert!(said.contains("doubled: [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]\n"), "{said}");
    assert!(said.lines().filter(|line| line.starts_with("starting PoolWorker-")).count() >= 5, "{said}");
}

#[test]
fn pool_pi() {
    let said = output("pool_pi", &[]);
    assert!(said.starts_with("pi is about 3.1"), "{said}");
}

#[test]
fn pool_primes() {
    let said = output("pool_primes", &[]);
    let prime = "112272535095293 is prime: true";
    assert_eq!((said.lines().count(), said.matches(prime).count()), (12, 2), "{said}");
    assert_eq!(said.matches("is prime: false").count(), 4, "{said}");
}

#[test]
fn pool_progress() {
    assert_says(&output("pool_progress", &[]), "131434424 steps from the first 1000000 numbers");
}

#[test]
fn pool_threads() {
    let said = output("pool_threads", &[]);
    assert!(said.starts_with("words: [3, 2, 1]\n") && said.ends_with("the pool goes on: 3\n"), "{said}");
}
