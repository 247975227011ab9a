//! Vectors of numbers are copied.

use std::time::Instant;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::{Counter, Stop, TypeInfo, decode, encode, encode_compact};

const N: usize = 1000;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Record {
    id: u8,
    data: Vec<u8>,
}

/// One that is not copied takes two bytes for an element of this size.
fn is_copied<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let mut bytes = Vec::new();
    encode(TypeInfo::of::<T>(), &value, &mut bytes).unwrap();
    assert!(bytes.len() < N + 50, "{}: {}", std::any::type_name::<T>(), bytes.len());
    assert_eq!(decode::<T>(&bytes).unwrap(), value);
}

#[test]
fn wherever_they_are() {
    let data = || vec![200_u8; N];
    is_copied(data());
    is_copied(data().into_boxed_slice());
    is_copied(vec![data()]);
    is_copied(Some(data()));
    is_copied((data(), 1_u8));
    is_copied(Record { id: 1, data: data() });
    is_copied(vec![Record { id: 1, data: data() }]);
    is_copied(std::collections::BTreeMap::from([(1_u8, data())]));
    is_copied(Ok::<Vec<u8>, String>(data()));
}

/// Values that are all large go straight into a sink once one has come back.
#[test]
fn large_ones_are_tried_too() {
    #[derive(Serialize, Deserialize)]
    struct Image {
        width: u32,
        data: Vec<u8>,
    }
    let info = TypeInfo::of::<Image>();
    let image = Image { width: 2048, data: vec![200; 4 << 20] };
    assert_eq!(encode_compact(info, &image, &mut Counter::default()), Err(Stop::Indirect));
    encode(info, &image, &mut Vec::new()).unwrap();
    assert_eq!(encode_compact(info, &image, &mut Counter::default()), Ok(()));
}

/// Also where they are not copied to be compared.
#[test]
fn large_ones_that_come_back_as_others_are_noticed() {
    #[derive(Serialize, Deserialize)]
    struct Halves {
        first: Vec<u16>,
        second: Vec<u16>,
    }
    /// Reads them the other way round.
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Halves", from = "Halves")]
    struct Exchanged {
        first: Vec<u16>,
        second: Vec<u16>,
    }
    impl From<Halves> for Exchanged {
        fn from(Halves { first, second }: Halves) -> Self {
            Self { first: second, second: first }
        }
    }
    let of = |n: u16| vec![n; 1 << 18];
    let encoded = |first, second| encode(TypeInfo::of::<Exchanged>(), &Exchanged { first, second }, &mut Vec::new());
    assert!(encoded(of(1), of(2)).unwrap_err().to_string().contains("another value than it was"));
    let mut last_differs = of(1);
    *last_differs.last_mut().unwrap() = 2;
    assert!(encoded(of(1), last_differs).is_err());
    assert!(encoded(of(1), vec![1]).is_err());
    encoded(of(1), of(1)).unwrap();
}

/// The same bytes as other types, which serde gives their elements one by one.
#[test]
fn for_types_that_know_nothing_of_it() {
    let mut bytes = Vec::new();
    encode(TypeInfo::of::<Vec<u16>>(), &vec![1_u16, 500], &mut bytes).unwrap();
    assert_eq!(decode::<std::collections::VecDeque<u16>>(&bytes).unwrap(), [1, 500]);
    assert_eq!(decode::<[u16; 2]>(&bytes).unwrap(), [1, 500]);
    assert_eq!(decode::<Vec<Option<u32>>>(&bytes).unwrap(), [Some(1), Some(500)]);
    assert!(decode::<Vec<u8>>(&bytes).is_err());
    assert!(decode::<Vec<String>>(&bytes).is_err());
    let mut bytes = Vec::new();
    encode(TypeInfo::of::<Vec<Option<u8>>>(), &vec![Some(1_u8)], &mut bytes).unwrap();
    assert_eq!(decode::<Vec<u8>>(&bytes).unwrap(), [1]);
}

/// A type of its own that takes a vector's place is not mistaken for it.
#[test]
fn a_visitor_of_its_own_is_asked() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Doubled(#[serde(deserialize_with = "doubled")] Vec<u8>);
    fn doubled<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("numbers")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut numbers = Vec::new();
                while let Some(n) = seq.next_element::<u8>()? {
                    numbers.extend([n, n]);
                }
                Ok(numbers)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
    let mut bytes = Vec::new();
    wire::encode_named(&Doubled(vec![1, 2]), &mut bytes).unwrap();
    assert_eq!(decode::<Doubled>(&bytes).unwrap(), Doubled(vec![1, 1, 2, 2]));
}

/// Prints how long it takes in this build.
#[test]
fn figures() {
    let data = vec![7_u8; 4 << 20];
    let info = TypeInfo::of::<Record>();
    let mut bytes = Vec::new();
    encode(info, &Record { id: 1, data: vec![1] }, &mut bytes).unwrap();
    let begun = Instant::now();
    let copy = data.clone();
    let copied = begun.elapsed();
    let record = Record { id: 1, data: copy };
    let begun = Instant::now();
    let mut bytes = Vec::new();
    encode(info, &record, &mut bytes).unwrap();
    let encoded = begun.elapsed();
    let begun = Instant::now();
    assert_eq!(decode::<Record>(&bytes).unwrap().data.len(), 4 << 20);
    println!("4 MiB in a struct: copied in {copied:?}, encoded in {encoded:?}, decoded in {:?}", begun.elapsed());
}
