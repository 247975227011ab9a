//! The ring alone: what its reader makes of what somebody else wrote.

use std::{os::fd::AsFd, time::Duration};

use proc_core::{
    logs::{
        doorbell::Doorbell,
        ring::{MAX_RECORD_BYTES, Reader, Ring, Writer},
    },
    shm::SharedMemory,
};

use crate::alone;

fn ends() -> (Ring, Writer, Reader, Doorbell) {
    let ring = Ring::new().unwrap();
    let there = Ring::from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
    (ring.clone(), Writer::new(there, Duration::ZERO), Reader::new(ring), Doorbell::new().unwrap())
}

#[test]
fn records_of_all_lengths_go_round() {
    let _alone = alone();
    let (_, mut writer, mut reader, doorbell) = ends();
    let mut record = Vec::new();
    for len in (0..3000).chain([MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES, 5, 0]) {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        assert!(writer.put(&bytes, &doorbell));
        assert_eq!(reader.take(&mut record), Ok(Some(0)));
        assert_eq!(record, bytes);
        assert_eq!(reader.take(&mut record), Ok(None));
    }
    assert!(!writer.put(&[0; MAX_RECORD_BYTES + 1], &doorbell));
    assert!(writer.put(&[1], &doorbell));
    assert_eq!(reader.take(&mut record), Ok(Some(1)));
    assert_eq!(reader.lost_at_end(), 0);
}

#[test]
fn a_full_ring_keeps_what_it_has_and_counts_the_rest() {
    let _alone = alone();
    let (_, mut writer, mut reader, doorbell) = ends();
    let n = (0..).take_while(|n: &u64| writer.put(&n.to_ne_bytes(), &doorbell)).count() as u64;
    assert!(!writer.put(&[0; 8], &doorbell));
    let mut record = Vec::new();
    for expected in 0..n {
        assert_eq!(reader.take(&mut record), Ok(Some(0)));
        assert_eq!(record, expected.to_ne_bytes());
    }
    assert_eq!((reader.take(&mut record), reader.lost_at_end()), (Ok(None), 2));
    assert!(writer.put(&[7], &doorbell));
    assert_eq!(reader.take(&mut record), Ok(Some(0)));
}

#[test]
fn scribbles_are_found_or_harmless() {
    let _alone = alone();
    let mut random = 1_u64;
    let mut n_garbled = 0;
    for round in 0..2000 {
        let (ring, mut writer, mut reader, doorbell) = ends();
        for n in 0_u8..20 {
            assert!(writer.put(&[n; 100], &doorbell));
        }
        let memory = SharedMemory::from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
        for _ in 0..1 + round % 40 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 40) as usize % 512 * 8;
            // SAFETY: inside the block, which is longer than a page; aligned.
            unsafe { memory.as_ptr().add(at).cast::<u64>().write_volatile(random ^ random >> 7) };
        }
        let mut record = Vec::new();
        // No more than there can be.
        let mut n_taken = 0;
        n_garbled += loop {
            match reader.take(&mut record) {
                Ok(None) => break 0,
                Ok(Some(_)) => n_taken += 1,
                Err(_) => break 1,
            }
            assert!(record.len() <= MAX_RECORD_BYTES && n_taken <= 20_000);
        };
        reader.make_room();
    }
    assert!(n_garbled > 100, "{n_garbled}");
}

#[test]
fn what_is_no_ring_is_refused() {
    let _alone = alone();
    for len in [1, 4096, 1 << 20] {
        let memory = SharedMemory::new(len).unwrap();
        assert!(Ring::from_fd(memory.as_fd().try_clone_to_owned().unwrap()).is_err());
    }
}
