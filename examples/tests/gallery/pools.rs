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
    assert_says(
        &lines[11..].join("\n"),
        "400
         a worker's pid: #
         four tasks ran in [#, #, #, #]
         we lacked patience and got a time-out
         for the moment, the pool remains available for more work
         now the pool is terminated: task was cancelled",
    );
}

#[test]
fn pool_callback() {
    let said = output("pool_callback", &[]);
    let (callbacks, last) = said.trim_end().rsplit_once('\n').unwrap();
    let expected = [(0, 0), (1, 1), (4, 2), (16, 4), (25, 5)].map(|(n, root)| format!("the root of {n} is {root}"));
    let (roots, failures): (Vec<_>, Vec<_>) = callbacks.lines().partition(|line| line.starts_with("the root"));
    assert_says_somehow(&roots.join("\n"), &expected.join("\n"));
    assert!(matches!(&failures[..], [one] if one.starts_with("no result for -9: task panicked at ")), "{said}");
    assert_eq!(last, "all done: [0, 1, 2, 4, 5], and 1 failed");
}

#[test]
fn pool_crash() {
    let said = output("pool_crash", &[]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("Err(WorkerDied { pid: ")
            && lines[0].ends_with(", signal: Some(9), code: None, crash: None, task: None })"),
        "{said}"
    );
    assert_eq!(lines[1..3], ["Err(TimedOut)", "Err(MemoryLimit)"]);
    assert!(lines[3].starts_with("task panicked at ") && lines[3].ends_with(": nothing to take from"), "{said}");
    assert_eq!(lines[4..], ["Ok(42)", "1 done, 4 failed, 3 workers replaced", "given up after 2 retries"]);
}

#[test]
fn untrusted_parser() {
    let said = output("untrusted_parser", &[]);
    assert_says(
        &said,
        "good: 3 fields
         with a length that is not true: fault in copy_field, untrusted_parser.c:11
         with orders: a system call was refused: openat in follow_orders, untrusted_parser.c:16
         the next one: 2 fields",
    );
}

#[test]
fn crash_report() {
    let said = output("crash_report", &[]);
    assert_says(
        &said,
        "\"good\": 4 bytes
         \"((((\": stack overflow in crash_report::nested, crash_report.rs:#
         \"!\": abort in crash_report::parse, crash_report.rs:#
         \"*\": fault in crash_report::read_at, crash_report.rs:#",
    );
}

#[test]
fn worker_logs() {
    let said = output("worker_logs", &[]);
    assert_says(
        &said,
        "INFO [parser-#] parsing # bytes
         INFO [parser-#] parsing # bytes
         ERROR [parser-#] this one is broken
         crashed (abort), and said: free(): invalid pointer
         INFO [parser-#] parsing # bytes
         parser-#: parsed
         parser-#: free(): invalid pointer
         parser-#: parsed",
    );
}

#[test]
fn task_terms() {
    let said = output("task_terms", &[]);
    let parsed = |input| format!("{input} is parsed with 1 threads\n");
    let expected = [
        "first: timed out\nlarge: task exceeded its memory limit\n".into(),
        "third: task is quarantined: its worker died each time it was tried\n".into(),
        parsed("good"),
        "workers died of: first, third, third\n".into(),
        parsed("a") + "timed out\n" + &parsed("b"),
        "3 workers are wanted\nthe one that leaked is replaced\n".into(),
    ];
    assert_eq!(said, expected.concat());
}

#[test]
fn pool_initializer() {
    let said = output("pool_initializer", &[]);
    let lines: Vec<&str> = said.lines().collect();
    let (starts, results) = lines.split_at(lines.len() - 2);
    assert!(starts.len() >= 5 && starts.iter().all(|line| line.starts_with("starting PoolWorker-")), "{said}");
    assert_eq!(results[0], "doubled: [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]");
    assert!(number_after(results[1], "ten tasks by ") >= 5, "{said}");
}

#[test]
fn pool_pi() {
    assert_eq!(output("pool_pi", &[]), "pi is about 3.140\n");
}

#[test]
fn pool_primes() {
    let said = output("pool_primes", &[]);
    let in_order = "112272535095293 is prime: true
        112582705942171 is prime: true
        112272535095295 is prime: false
        115280095190773 is prime: true
        115797848077099 is prime: true
        1099726899285 is prime: false";
    let lines: Vec<&str> = said.lines().collect();
    let (first, as_they_came) = lines.split_at(6);
    assert!(first.iter().eq(&in_order.lines().map(str::trim).collect::<Vec<_>>()), "{said}");
    assert_says_somehow(&as_they_came.join("\n"), in_order);
}

#[test]
fn pool_progress() {
    assert_says(&output("pool_progress", &[]), "131434424 steps from the first 1000000 numbers");
}

#[test]
fn pool_threads() {
    assert_eq!(
        output("pool_threads", &[]),
        "words: [3, 2, 1]\nSIX!\nletters: 22\n\
         one task panics: task panicked at examples/pool_threads.rs:27:40: index out of bounds: the len is 3 but the index is 3\n\
         the pool goes on: 3\n"
    );
}
