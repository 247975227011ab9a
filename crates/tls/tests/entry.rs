//! A program of its own, since it must use nothing but thread-locals.

use std::cell::Cell;

use test_support::entry;
use tls::Local;

static DATA: Local<Cell<u64>> = Local::new(|| Cell::new(0));

#[test]
fn a_program_with_thread_locals_only_has_no_entry_before_main() {
    DATA.set(5);
    assert!(!entry::is_linked());
    assert!(entry::is_passed_by());
}
