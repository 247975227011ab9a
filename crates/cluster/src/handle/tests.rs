//! What an agent does with tasks that no pool has made.

use std::{sync::mpsc::channel, time::Duration};

use bytes::Bytes;
use pool::PoolError;
use proc_core::function::{CallError, Function};
use test_support::watchdog;

use super::ClusterPool;
use crate::message::{self, End, Ends, Parcel, ParcelTerms};

fn square(n: u64) -> u64 {
    n * n
}

/// The function that lies `distance` behind `square`'s place.
fn place_behind(distance: u64) -> Function {
    let place = u64::from_ne_bytes(Function::of(square).unwrap().to_bytes());
    Function::take(&mut &place.wrapping_add(distance).to_ne_bytes()[..]).unwrap()
}

#[test]
fn forged_places_and_arguments_are_refused() {
    let _dog = watchdog(Duration::from_secs(60));
    let pool = match ClusterPool::local(1) {
        Ok(pool) => pool,
        Err(PoolError::Cluster(why)) if why.starts_with("no nats-server") => return eprintln!("SKIPPED: {why}"),
        Err(why) => panic!("{why}"),
    };
    let end_of = |task: u64, function: Function, args: &[u8]| {
        let parcel = Parcel {
            queue: pool.shared.own.name.clone(),
            coordinator: pool.shared.coordinator.clone(),
            task,
            function: Some(function),
            terms: ParcelTerms::default(),
            fingerprint: None,
            calls: vec![args.to_vec()],
        };
        let (tell, told) = channel();
        let parcel: Bytes = message::encode(&parcel).unwrap();
        pool.shared.submit(
            &pool.shared.own,
            task,
            parcel,
            None,
            false,
            Box::new(move |verdict| tell.send(verdict).unwrap()),
        );
        match told.recv().unwrap().unwrap().ends {
            Ends::All(end) => *end,
            Ends::Each(mut ends) => ends.remove(0),
            Ends::GivenBack { .. } => panic!("an agent gives back"),
        }
    };
    let (mut number, args) = (1 << 40, super::call::pack((3_u64,)).unwrap());
    let mut next = || {
        number += 1;
        number
    };
    for distance in [1, 2, 16, 1 << 20, 1 << 62, 0_u64.wrapping_sub(1)] {
        let end = end_of(next(), place_behind(distance), &args);
        assert!(matches!(&end, End::Refused(why) if why.contains("no such function")), "{distance}: {end:?}");
    }
    for garbage in [&[][..], &[0xff; 100], &args[..args.len() - 1]] {
        let end = end_of(next(), place_behind(0), garbage);
        assert!(matches!(end, End::Failed(CallError::Arguments(_))), "{end:?}");
    }
    assert!(matches!(end_of(next(), place_behind(0), &args), End::Value(_)));
    assert_eq!(pool.apply(square, (4,)), Ok(16));
}
