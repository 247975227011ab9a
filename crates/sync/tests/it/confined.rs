//! Children that may do nothing but compute have locks as all others do.

use proc_core::{Builder, Confinement, Process};
use sync::process::{Event, Lock, RwLock};

use crate::{conformance::process::ALL, util::dog};

/// A system call that is refused ends the child.
fn confined() -> Builder {
    Process::builder().confine(Confinement::compute().end_at_refusal())
}

#[test]
fn the_conformance_suite_passes_in_a_confined_child() {
    let _dog = dog();
    fn run(index: usize) {
        ALL[index].1();
    }
    assert!(ALL.len() > 25, "the suite was not found");
    for (index, (name, _)) in ALL.iter().enumerate() {
        confined().spawn(run, (index,)).unwrap().join().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    println!("{} tests", ALL.len());
}

/// Between confined and unconfined ones.
#[test]
fn confined_holders_exclude_others_and_their_death_is_told() {
    let _dog = dog();
    fn count(lock: Lock<(u32, u32)>, rw: RwLock<u32>) {
        for _ in 0..10_000 {
            let mut pair = lock.lock().unwrap();
            assert_eq!(pair.0, pair.1);
            pair.0 += 1;
            pair.1 += 1;
            drop(pair);
            *rw.write().unwrap() += 1;
        }
    }
    fn hold(lock: Lock<(u32, u32)>, held: Event) {
        std::mem::forget(lock.lock().unwrap());
        held.set();
        std::thread::sleep(std::time::Duration::MAX);
    }
    let (lock, rw) = (Lock::new((0, 0)).unwrap(), RwLock::new(0).unwrap());
    let children = [confined(), confined(), Process::builder()]
        .map(|builder| builder.spawn(count, (lock.clone(), rw.clone())).unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!((*lock.lock().unwrap(), *rw.read().unwrap()), ((30_000, 30_000), 30_000));
    let held = Event::new().unwrap();
    let holder = confined().spawn(hold, (lock.clone(), held.clone())).unwrap();
    held.wait().unwrap();
    // One that waits is told, confined as well.
    let told = confined().spawn(|lock: Lock<(u32, u32)>| lock.lock().is_err(), (lock.clone(),)).unwrap();
    holder.kill().unwrap();
    assert!(told.join().unwrap());
    assert!(lock.lock().is_err());
}
