//! Values that are written otherwise than an earlier one of their type was: the earlier one came back as it was, and that
//! says nothing of them.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use wire::{Flat, TypeInfo, decode, encode};

fn survive<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[T]) {
    for value in values {
        let mut bytes = Vec::new();
        encode(TypeInfo::of::<T>(), value, &mut bytes).unwrap();
        assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    }
}

/// Two variants with the same fields in another order, read by one struct.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename = "Move", from = "Raw", untagged)]
enum Move {
    Forth { from: u32, to: u32 },
    Back { to: u32, from: u32 },
}

#[derive(Deserialize)]
#[serde(rename = "Move")]
struct Raw {
    from: u32,
    to: u32,
}

impl From<Raw> for Move {
    fn from(Raw { from, to }: Raw) -> Self {
        if from <= to { Self::Forth { from, to } } else { Self::Back { to, from } }
    }
}

#[test]
fn fields_in_another_order() {
    survive(&[Move::Forth { from: 1, to: 2 }, Move::Back { to: 1, from: 2 }, Move::Forth { from: 3, to: 4 }]);
}

#[test]
fn fields_in_another_order_in_a_row() {
    let flat = Flat::<Move>::of().expect("it is read as two numbers");
    let mut bytes = Vec::new();
    assert!(flat.encode(&[Move::Forth { from: 1, to: 2 }], &mut bytes));
    let row = [Move::Forth { from: 1, to: 2 }, Move::Back { to: 1, from: 2 }];
    assert!(!flat.encode(&row, &mut bytes));
    assert!(!flat.encode_over(&row[1], &mut bytes));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Point {
    x: i32,
    y: i32,
}

mod former {
    #[derive(serde::Serialize)]
    pub(super) struct Point {
        pub(super) y: i32,
        pub(super) x: i32,
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Line {
    start: Point,
    #[serde(serialize_with = "as_former")]
    end: Option<Point>,
}

fn as_former<S: Serializer>(point: &Option<Point>, serializer: S) -> Result<S::Ok, S::Error> {
    point.as_ref().map(|point| former::Point { y: point.y, x: point.x }).serialize(serializer)
}

#[test]
fn a_struct_of_the_same_name_by_another_path() {
    survive(&[
        Line { start: Point { x: 1, y: 2 }, end: None },
        Line { start: Point { x: 1, y: 2 }, end: Some(Point { x: 3, y: 4 }) },
    ]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Blob {
    #[serde(serialize_with = "as_bytes")]
    data: Option<Vec<u8>>,
}

fn as_bytes<S: Serializer>(data: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    struct Bytes<'a>(&'a [u8]);
    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    data.as_deref().map(Bytes).serialize(serializer)
}

#[test]
fn bytes_that_are_read_as_a_sequence() {
    survive(&[Blob { data: None }, Blob { data: Some(vec![1, 200]) }, Blob { data: Some(Vec::new()) }]);
}

/// Each value is refused, or arrives.
fn refuse(values: &[(impl Serialize + DeserializeOwned + PartialEq + std::fmt::Debug, bool)]) {
    fn encoded<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, wire::Error> {
        let mut bytes = Vec::new();
        encode(TypeInfo::of::<T>(), value, &mut bytes).map(|()| bytes)
    }
    fn decoded<T: DeserializeOwned>(_like: &T, bytes: &[u8]) -> T {
        decode(bytes).unwrap()
    }
    for (value, arrives) in values {
        match encoded(value) {
            Ok(bytes) => assert!(*arrives && decoded(value, &bytes) == *value, "{value:?}"),
            Err(why) => assert!(!*arrives, "{value:?}: {why}"),
        }
    }
}

fn as_text<S: Serializer>(n: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(n)
}

/// Written as text, read as a number.
#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[serde(transparent)]
struct Uneven(#[serde(serialize_with = "as_text")] u32);

#[derive(Serialize, Deserialize, PartialEq, Debug, Default)]
struct Sometimes {
    option: Option<Uneven>,
    list: Vec<Uneven>,
    map: BTreeMap<Uneven, Uneven>,
    nested: Vec<Option<Uneven>>,
    pair: (Option<Uneven>, Option<u32>),
}

#[test]
fn what_an_option_or_a_collection_holds_is_tried_when_it_is_there() {
    let some = || Uneven(1);
    refuse(&[
        (Sometimes::default(), true),
        (Sometimes { option: Some(some()), ..Sometimes::default() }, false),
        (Sometimes { list: vec![some()], ..Sometimes::default() }, false),
        (Sometimes { map: [(some(), some())].into(), ..Sometimes::default() }, false),
        (Sometimes { nested: vec![None], ..Sometimes::default() }, true),
        (Sometimes { nested: vec![None, Some(some())], ..Sometimes::default() }, false),
        (Sometimes { pair: (None, Some(1)), ..Sometimes::default() }, true),
        (Sometimes { pair: (Some(some()), Some(1)), ..Sometimes::default() }, false),
        (Sometimes::default(), true),
    ]);
}

fn from_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Rows {
    read: Vec<u32>,
    #[serde(deserialize_with = "from_texts")]
    misread: Vec<u32>,
}

#[test]
fn numbers_in_one_field_say_nothing_of_those_in_another() {
    refuse(&[
        (Rows { read: vec![1], misread: Vec::new() }, true),
        (Rows { read: vec![1], misread: vec![1] }, false),
        (Rows { read: vec![1, 2], misread: Vec::new() }, true),
    ]);
}

#[test]
fn content_of_one_variant_says_nothing_of_another_type_there() {
    type Both = (Result<u8, ()>, Result<Uneven, ()>);
    let values: [(Both, bool); 3] =
        [((Ok(1), Err(())), true), ((Ok(1), Ok(Uneven(1))), false), ((Ok(2), Err(())), true)];
    refuse(&values);
}

/// A set in one text: its order is another after each time that it is read.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Joined {
    #[serde(serialize_with = "join", deserialize_with = "split")]
    set: HashSet<String>,
}

fn join<S: Serializer>(set: &HashSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&set.iter().map(String::as_str).collect::<Vec<_>>().join(","))
}

fn split<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashSet<String>, D::Error> {
    Ok(String::deserialize(deserializer)?.split(',').map(str::to_owned).collect())
}

#[test]
fn a_hashed_set_in_one_text() {
    // The first is read back, and has the most elements: one of few may have them in the same order again.
    for n in (1..20).rev() {
        survive(&[Joined { set: (0..n).map(|n: u32| n.to_string()).collect() }]);
    }
}
