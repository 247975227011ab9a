//! Whether two values are the same in the named form, in whichever order their sets and maps have their elements.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};

use crate::{
    numbers,
    tag::{self, LONG, SMALL},
};

/// A number that two values share if each element of one is in the other as often.
pub(crate) fn digest(named: &[u8]) -> Option<u64> {
    let mut reader = DigestReader { bytes: named };
    (reader.byte()? == tag::NAMED).then_some(())?;
    let digest = reader.value()?;
    reader.bytes.is_empty().then_some(digest)
}

struct DigestReader<'a> {
    bytes: &'a [u8],
}

impl<'a> DigestReader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes.split_off_first().copied()
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        self.bytes.split_off(..len)
    }

    fn len(&mut self) -> Option<usize> {
        match self.byte()? {
            LONG => {
                let (head, rest) = self.bytes.split_first_chunk()?;
                self.bytes = rest;
                usize::try_from(u64::from_ne_bytes(*head)).ok()
            }
            short => Some(short.into()),
        }
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.len()?;
        self.slice(len)
    }

    fn value(&mut self) -> Option<u64> {
        let tag = self.byte()?;
        Some(match tag {
            tag::NONE | tag::UNIT | tag::FALSE | tag::TRUE | SMALL.. => hash(tag, &[]),
            tag::CHAR => hash(tag, self.slice(4)?),
            tag::STR | tag::BYTES => hash(tag, self.counted()?),
            tag::SOME => combine(tag, 0, self.value()?),
            tag::ARRAY => {
                let element = self.byte()?;
                let len = self.len()?.checked_mul(numbers::width(element)?)?;
                hash(element, self.slice(len)?)
            }
            tag::NAMED_VARIANT => combine(tag, hash(tag, self.counted()?), self.value()?),
            tag::SEQ_OPEN => self.elements(tag, Self::value)?,
            tag::MAP_OPEN => self.elements(tag, Self::entry)?,
            tag::RECORD => combine(tag, hash(tag, self.counted()?), self.elements(tag, Self::entry)?),
            tag => hash(tag, self.slice(numbers::width(tag)?)?),
        })
    }

    fn entry(&mut self) -> Option<u64> {
        Some(combine(tag::MAP_OPEN, self.value()?, self.value()?))
    }

    fn elements(&mut self, tag: u8, read: impl Fn(&mut Self) -> Option<u64>) -> Option<u64> {
        let mut sum = 0_u64;
        while *self.bytes.first()? != tag::END {
            sum = sum.wrapping_add(read(self)?);
        }
        self.byte()?;
        Some(combine(tag, 1, sum))
    }
}

fn hash(tag: u8, bytes: &[u8]) -> u64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
    hasher.write_u8(tag);
    hasher.write(bytes);
    hasher.finish()
}

fn combine(tag: u8, a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_ne_bytes());
    bytes[8..].copy_from_slice(&b.to_ne_bytes());
    hash(tag, &bytes)
}
