//! Values that are the same few numbers each time.

use std::{cell::Cell, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use wire::Flat;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Copy)]
struct Body {
    id: u64,
    place: (f64, f64),
    kind: Kind,
    is_fixed: bool,
    name: char,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Copy)]
struct Kind(u8);

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[T], n_bytes: usize) {
    let flat = Flat::<T>::of().unwrap();
    let mut bytes = vec![7];
    assert!(flat.encode(values, &mut bytes), "{values:?}");
    assert_eq!(bytes.len(), 1 + n_bytes, "{values:?}");
    let (mut rest, mut back) = (&bytes[1..], Vec::new());
    flat.take(values.len(), &mut rest, &mut back).unwrap();
    assert_eq!((&back[..], rest), (values, &[][..]));
    for end in 1..bytes.len() {
        assert!(flat.take(values.len(), &mut &bytes[1..end], &mut Vec::new()).is_err());
    }
    assert!(flat.take(usize::MAX, &mut &bytes[..], &mut Vec::new()).is_err());
}

#[test]
fn structs_and_tuples_of_numbers_come_back() {
    survives(&[(1_u8, -1_i8), (2, i8::MIN)], 4);
    survives(&[(1_u64, 0.5_f64), (u64::MAX, f64::NEG_INFINITY)], 32);
    let body = Body { id: 1, place: (0.5, -0.0), kind: Kind(200), is_fixed: true, name: 'ß' };
    survives(&[body, Body { is_fixed: false, ..body }], 2 * 32);
    survives(&[[u128::MAX; 2]], 32);
    survives(&[(Duration::from_nanos(7), std::net::Ipv4Addr::LOCALHOST)], 16);
    survives::<(u8, u8)>(&[], 0);
}

fn is_refused<T: Serialize + DeserializeOwned>(value: T) {
    let mut bytes = vec![7];
    let is_written = Flat::of().is_some_and(|flat| flat.encode(&[value], &mut bytes));
    assert!(!is_written, "{}", std::any::type_name::<T>());
    assert_eq!(bytes, [7]);
}

#[test]
fn what_differs_from_value_to_value_has_no_shape() {
    is_refused(Some(1_u8));
    is_refused((1_u8, String::new()));
    is_refused(vec![(1_u8, 2_u8)]);
    is_refused(Ok::<u8, u8>(1));
    is_refused(());
    is_refused([0_u8; 32]);
    is_refused(serde_json::json!(1));
}

#[derive(Serialize, Deserialize)]
struct Skipping {
    #[serde(default, skip_serializing_if = "is_zero")]
    count: u32,
    other: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Its tuples end elsewhere when it begins with 0.
struct Regrouped(u8, u8, u8);

impl Serialize for Regrouped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(a, b, c) = *self;
        if a == 0 { ((a, b), (c,)).serialize(serializer) } else { ((a,), (b, c)).serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Regrouped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ((a,), (b, c)) = Deserialize::deserialize(deserializer)?;
        Ok(Self(a, b, c))
    }
}

#[derive(Serialize, PartialEq, Debug)]
struct Wider(u32, u32);

impl<'de> Deserialize<'de> for Wider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, b) = <(u64, u32)>::deserialize(deserializer)?;
        Ok(Self(a as u32, b))
    }
}

#[test]
fn what_is_written_otherwise_than_it_is_read_is_refused() {
    let mut bytes = Vec::new();
    assert!(Flat::of().unwrap().encode(&[Skipping { count: 1, other: 2 }], &mut bytes));
    is_refused(Skipping { count: 0, other: 2 });
    assert!(Flat::of().unwrap().encode(&[Regrouped(1, 2, 3)], &mut bytes));
    is_refused(Regrouped(0, 2, 3));
    is_refused(Wider(1, 2));
}

thread_local!(static IS_NARROW: Cell<bool> = const { Cell::new(false) });

/// Reads something else when told to.
struct Fickle(u64, u64);

impl Serialize for Fickle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if IS_NARROW.get() {
            let (a, b) = <(u32, u64)>::deserialize(deserializer)?;
            return Ok(Self(a.into(), b));
        }
        let (a, b) = Deserialize::deserialize(deserializer)?;
        Ok(Self(a, b))
    }
}

#[test]
fn what_is_read_otherwise_than_before_is_an_error() {
    let mut bytes = Vec::new();
    assert!(Flat::of().unwrap().encode(&[Fickle(1, 2)], &mut bytes));
    IS_NARROW.set(true);
    let error = Flat::<Fickle>::of().unwrap().take(1, &mut &bytes[..], &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
}

/// Writes text where that is possible, and else a number.
struct Either(u64);

impl Serialize for Either {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&self.0)?;
        if self.0 > 9 || pair.serialize_element("text").is_err() {
            pair.serialize_element(&self.0)?;
        }
        pair.end()
    }
}

impl<'de> Deserialize<'de> for Either {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (first, _) = <(u64, u64)>::deserialize(deserializer)?;
        Ok(Self(first))
    }
}

#[test]
fn a_refusal_that_is_ignored_stays_one() {
    let mut bytes = Vec::new();
    assert!(Flat::of().unwrap().encode(&[Either(10)], &mut bytes));
    is_refused(Either(1));
}

/// Has its fields in another order when the first is 0, other names when it is 1 or 2, and fewer when it is 3.
#[derive(Deserialize)]
struct Fields {
    a: u32,
    b: u32,
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct(if self.a == 2 { "Field" } else { "Fields" }, 2)?;
        let names = match self.a {
            0 => ["b", "a"],
            1 => ["a", "c"],
            _ => ["a", "b"],
        };
        let values = if self.a == 0 { [&self.b, &self.a] } else { [&self.a, &self.b] };
        for (name, value) in names.into_iter().zip(values).take(if self.a == 3 { 1 } else { 2 }) {
            fields.serialize_field(name, value)?;
        }
        fields.end()
    }
}

#[test]
fn fields_in_another_order_or_by_other_names_are_refused() {
    let mut bytes = Vec::new();
    assert!(Flat::of().unwrap().encode(&[Fields { a: 9, b: 2 }], &mut bytes));
    (0..4).for_each(|a| is_refused(Fields { a, b: 2 }));
}
