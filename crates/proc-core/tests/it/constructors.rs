//! What runs before `main` runs in children too, wherever the linker has put it, and once.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proc_core::{Process, StartMethod};

use crate::{METHODS, watchdog};

static N_RUNS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// A constructor of this program.
macro_rules! constructor {
    ($name:ident, $section:literal, $number:literal) => {
        #[used]
        #[unsafe(link_section = $section)]
        static $name: extern "C" fn() = {
            extern "C" fn count() {
                N_RUNS[$number].fetch_add(1, Relaxed);
            }
            count
        };
    };
}

constructor!(FIRST, ".init_array.00200", 0);
constructor!(WITHOUT_PRIORITY, ".init_array", 1);
// Some linkers put this one after all those without a priority.
constructor!(LAST, ".init_array.99999", 2);

/// Those here, that of a library, and one that std has: it takes note of the arguments.
fn n_runs() -> (Vec<u32>, u32, usize) {
    let here = N_RUNS.iter().map(|n| n.load(Relaxed)).collect();
    (here, test_support::constructor::n_runs(), std::env::args().count())
}

#[test]
fn children_run_each_constructor_once() {
    let _dog = watchdog();
    let expected = (vec![1; 3], 1, std::env::args().count());
    assert_eq!(n_runs(), expected);
    for method in METHODS {
        let childs = Process::builder().start_method(method).spawn(n_runs, ()).unwrap().join().unwrap();
        println!("{method:?}: {childs:?}");
        assert_eq!(childs, expected, "{method:?}");
    }
    // A child of a child, too.
    fn childs() -> (Vec<u32>, u32, usize) {
        Process::builder().start_method(StartMethod::Spawn).spawn(n_runs, ()).unwrap().join().unwrap()
    }
    assert_eq!(Process::spawn(childs, ()).unwrap().join().unwrap(), expected);
}
