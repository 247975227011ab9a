//! Values that are written otherwise than an earlier one of their type was: the earlier one came back as it was, and that
//! says nothing of them.

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
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
