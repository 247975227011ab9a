//! Names in order, as one number.

/// Stands for some names in order. Other names, or the same ones in another order, have the same number by accident only,
/// about once in 2^60.
///
/// Where a `Serialize` is compiled, its names are constants, and so are the numbers of a whole list but for a product and a sum:
/// what is added to a number and then multiplied is one sum and one product for any number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameHash(u64);

/// Spreads a number over all bits: odd, without pattern.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C17;

impl NameHash {
    /// Of no names.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self(SPREAD)
    }

    /// Of these.
    pub(crate) fn of(names: &[&str]) -> Self {
        let mut hash = Self::new();
        names.iter().for_each(|name| hash.push(name));
        hash
    }

    /// Takes a name.
    #[inline(always)]
    pub(crate) fn push(&mut self, name: &str) {
        self.0 = self.0.wrapping_mul(SPREAD).wrapping_add(number(name));
    }
}

/// Of one name: a word at a time, so that a compiler makes a constant of it, and it is cheap where it does not.
#[inline(always)]
fn number(name: &str) -> u64 {
    let mut rest = name.as_bytes();
    let mut number = mixed(rest.len() as u64, SPREAD);
    while let Some((word, more)) = rest.split_first_chunk() {
        number = mixed(number, u64::from_ne_bytes(*word));
        rest = more;
    }
    let tail = match (rest.first_chunk(), rest.last_chunk()) {
        (Some(first), Some(last)) => u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last)),
        _ => rest.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
    };
    mixed(number, tail)
}

#[inline(always)]
fn mixed(number: u64, word: u64) -> u64 {
    let product = (number ^ word).wrapping_mul(SPREAD);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    fn hash_of(names: &[String]) -> u64 {
        NameHash::of(&names.iter().map(String::as_str).collect::<Vec<_>>()).0
    }

    /// Texts of up to 19 bytes that differ in one byte, and lists of them that differ in their order or in where a name ends.
    #[test]
    fn each_byte_each_end_and_the_order_count() {
        let mut lists = BTreeSet::from([Vec::new()]);
        for len in 0..20 {
            let text = "a".repeat(len);
            lists.insert(vec![text.clone()]);
            for at in 0..len {
                let mut other = text.clone();
                other.replace_range(at..=at, "b");
                let (head, tail) = (other[..at].to_owned(), other[at..].to_owned());
                lists.extend([
                    vec![head, tail],
                    vec![text.clone(), other.clone()],
                    vec![other.clone(), text.clone()],
                    vec![other],
                ]);
            }
        }
        let hashes: HashSet<u64> = lists.iter().map(|names| hash_of(names)).collect();
        assert_eq!(hashes.len(), lists.len());
    }
}
