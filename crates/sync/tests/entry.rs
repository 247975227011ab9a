//! A program of its own, since it must use nothing but locks.

use sync::{process, thread};
use test_support::entry;

#[test]
fn a_program_that_only_locks_has_no_entry_before_main() {
    *process::Lock::new(1_u64).unwrap().lock().unwrap() += 1;
    *thread::Lock::new(1).lock() += 1;
    assert!(!entry::is_linked());
    assert!(entry::is_passed_by());
}
