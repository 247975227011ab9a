//! Items that are leased, given back and joined.

use loom::{sync::Arc, thread};

use super::{GETTER, Model, OTHER, PUTTER, VICTIM, block, holder, leasing::Leasing, ring::Stop, word::BlockState};
use crate::explore;

/// The last of several who are done wakes the joiner, who sleeps without a limit.
#[test]
fn a_joiner_wakes_when_the_last_item_is_done() {
    explore(3, || {
        let ring = Arc::new(Model::with(2, 2, true));
        let (first, second) = (ring.lend(0, 5, GETTER), ring.lend(1, 6, OTHER));
        let (a, b) = (ring.clone(), ring.clone());
        let one = thread::spawn(move || a.finish(first.block, first.word, holder(GETTER)));
        let other = thread::spawn(move || b.finish(second.block, second.word, holder(OTHER)));
        ring.join();
        // Whoever has finished may still hold the block, to free it.
        assert!([0, 1].iter().all(|index| !ring.is_unfinished(block(*index))));
        one.join().unwrap();
        other.join().unwrap();
    });
}

/// Whoever joins is not told that all is done while an item is between two holders.
#[test]
fn a_joiner_waits_for_an_item_that_is_given_back() {
    explore(3, || {
        let ring = Arc::new(Model::with(2, 1, true));
        let lease = ring.lend(0, 5, VICTIM);
        let (a, b) = (ring.clone(), ring.clone());
        let dropping = thread::spawn(move || a.abandon(lease.block, lease.word, lease.deliveries));
        let getting = thread::spawn(move || {
            let lease = b.lease(GETTER);
            assert_eq!(lease.deliveries, 2);
            b.finish(lease.block, lease.word, holder(GETTER));
        });
        ring.join();
        assert!(!ring.is_unfinished(block(0)));
        dropping.join().unwrap();
        getting.join().unwrap();
    });
}

/// Two items come back while two getters sleep: each gets one.
#[test]
fn items_that_are_given_back_wake_those_who_wait() {
    explore(2, || {
        let ring = Arc::new(Model::with(2, 2, true));
        let leases = [ring.lend(0, 5, VICTIM), ring.lend(1, 6, VICTIM)];
        let (a, b) = (ring.clone(), ring.clone());
        let dropping =
            thread::spawn(move || leases.iter().for_each(|lease| a.abandon(lease.block, lease.word, lease.deliveries)));
        let other = thread::spawn(move || b.lease(OTHER).block);
        let mine = ring.lease(GETTER).block;
        assert_ne!(other.join().unwrap(), mine);
        dropping.join().unwrap();
    });
}

/// The holder of an item dies while a getter takes it for abandoned and it is swept: it is delivered once more, to one.
#[test]
fn an_item_of_the_dead_is_delivered_once_more() {
    explore(2, || {
        let ring = Arc::new(Model::with(2, 1, true));
        ring.lend(0, 5, VICTIM);
        let (a, b) = (ring.clone(), ring.clone());
        let sweeping = thread::spawn(move || a.sweep(VICTIM, OTHER));
        let also = thread::spawn(move || b.sweep(VICTIM, PUTTER));
        let lease = ring.lease(GETTER);
        assert_eq!(lease.deliveries, 2);
        sweeping.join().unwrap();
        also.join().unwrap();
        assert_eq!(ring.state(0), BlockState::Leased { to: holder(GETTER), deliveries: 2 });
        // That was the last: nobody gets it again, and nobody waits for it.
        ring.abandon(lease.block, lease.word, lease.deliveries);
        assert_eq!(ring.state(0), BlockState::DeadLetter { deliveries: 2 });
        assert_eq!((ring.try_lease(OTHER).err(), ring.has_all_done()), (Some(Stop::WouldBlock), Ok(true)));
    });
}
