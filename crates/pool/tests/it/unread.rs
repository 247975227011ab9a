//! An item or a result that its type does not read fails alone, whatever came with it.

use std::fmt::Debug;

use pool::{ProcessPool, TaskError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use test_support::watchdog;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(100);
const N: u64 = 3000;

/// Can be made of any number, and is read only if that is not one of those.
#[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
#[serde(try_from = "u64", into = "u64")]
struct Picky(u64);

impl From<Picky> for u64 {
    fn from(picky: Picky) -> Self {
        picky.0
    }
}

fn is_bad(n: u64) -> bool {
    n % 500 == 77
}

impl TryFrom<u64> for Picky {
    type Error = String;

    fn try_from(n: u64) -> Result<Self, String> {
        assert!(n != 1077, "I panic at {n}");
        if is_bad(n) { Err(format!("I refuse {n}")) } else { Ok(Self(n)) }
    }
}

#[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
struct Fixed {
    picky: Picky,
    number: u32,
}

#[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
struct Named {
    picky: Picky,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    more: Option<u8>,
}

fn fixed(n: u64) -> Fixed {
    Fixed { picky: Picky(n), number: 7 }
}

fn named(n: u64) -> Named {
    Named { picky: Picky(n), name: format!("number {n}"), more: n.is_multiple_of(3).then_some(1) }
}

/// Exactly those fail that are not read, each with its own reason.
fn check<R: PartialEq + Debug>(results: Vec<Result<R, TaskError>>, right: impl Fn(u64) -> R) {
    assert_eq!(results.len() as u64, N);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(!is_bad(n) && value == right(n), "{n}: {value:?}"),
            Err(why) => {
                let says = if n == 1077 { "I panic at 1077" } else { &format!("I refuse {n}") };
                assert!(is_bad(n) && why.to_string().contains(says), "{n}: {why}");
            }
        }
    }
}

fn results<R: Serialize + DeserializeOwned + PartialEq + Debug + Send + 'static>(
    f: impl Fn(u64) -> R + Copy + Send + 'static,
) {
    let pool = ProcessPool::builder().workers(2).chunk_size(1000).build().unwrap();
    check(pool.imap(f, 0..N).collect(), f);
}

#[test]
fn results_that_are_not_read_fail_alone() {
    let _dog = watchdog(PATIENCE);
    results(Picky);
    results(fixed);
    results(named);
}

#[test]
fn items_that_are_not_read_fail_alone() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(2).chunk_size(1000).build().unwrap();
    let double = |n| 2 * n;
    check(pool.imap(|picky: Picky| 2 * picky.0, (0..N).map(Picky)).collect(), double);
    check(pool.imap(|fixed: Fixed| 2 * fixed.picky.0, (0..N).map(fixed)).collect(), double);
    check(pool.imap(|named: Named| 2 * named.picky.0, (0..N).map(named)).collect(), double);
    assert_eq!(pool.stats().deaths.len(), 0);
}
