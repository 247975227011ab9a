//! Bytes that nobody wrote.

use serde::Serialize;
use test_types::{Must, Traveller, Visit};
use wire::{TypeInfo, decode, encode};

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Whatever the bytes, there is an answer, and it takes no more memory than some multiple of them.
#[test]
fn any_bytes_are_answered() {
    struct Changed(u64, usize);
    impl Visit for Changed {
        fn visit<T: Traveller>(&mut self, _name: &'static str, _must: Must, values: Vec<T>) {
            let Some(mut bytes) = values.last().and_then(packed).filter(|bytes| bytes.len() < 10_000) else { return };
            for end in 0..bytes.len().min(100) {
                self.1 += usize::from(decode::<T>(&bytes[..end]).is_err());
            }
            for _ in 0..200 {
                let at = random(&mut self.0) as usize % bytes.len();
                let was = std::mem::replace(&mut bytes[at], random(&mut self.0) as u8);
                let _ = decode::<T>(&bytes);
                bytes[at] = if self.0.is_multiple_of(3) { bytes[at] } else { was };
            }
        }
    }
    let mut changed = Changed(1, 0);
    test_types::all(&mut changed);
    println!("{} cut messages were errors", changed.1);
    assert!(changed.1 > 1000);
}

fn packed<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(TypeInfo::of::<T>(), value, &mut bytes).ok()?;
    Some(bytes)
}

#[test]
fn lengths_that_nothing_follows_cost_nothing() {
    for tag in [19, 20, 22, 24, 26] {
        let long = [&[tag, 255][..], &u64::MAX.to_ne_bytes(), &[4; 9]].concat();
        assert!(decode::<Vec<bool>>(&long).is_err());
        assert!(decode::<Vec<()>>(&long).is_err());
        assert!(decode::<String>(&long).is_err());
        assert!(decode::<serde_json::Value>(&long).is_err());
        assert!(decode::<std::collections::HashMap<(), ()>>(&long).is_err());
    }
    for element in 0..=255 {
        let long = [&[21, element, 255][..], &(u64::MAX / 16 + 1).to_ne_bytes(), &[4; 9]].concat();
        assert!(decode::<Vec<u64>>(&long).is_err());
        assert!(decode::<Vec<u128>>(&long).is_err());
    }
}
