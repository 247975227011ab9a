//! The hash of a [`TypeId`](std::any::TypeId), which is made of a hash: no more than that is needed.

use std::hash::Hasher;

pub(crate) struct IdHasher(pub(crate) u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    #[inline(always)]
    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
