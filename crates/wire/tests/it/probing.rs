//! What is found out about a type.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wire::{Form, HANDLE, TypeInfo, decode, encode};

#[derive(Serialize, Deserialize)]
enum Wide {
    A(Inner),
    B { inner: Inner, map: BTreeMap<String, Inner> },
    C(Box<Wide>),
    D(Vec<Wide>, Option<Box<Wide>>),
}

#[derive(Serialize, Deserialize)]
enum Inner {
    X(u8),
    Y(String, [i32; 4]),
    Z,
}

#[derive(Serialize, Deserialize)]
struct Left {
    right: Option<Box<Right>>,
}

#[derive(Serialize, Deserialize)]
struct Right {
    left: Vec<Left>,
    inner: Inner,
}

#[derive(Serialize, Deserialize)]
enum Hidden {
    #[allow(dead_code)]
    A(Inner),
    B(Vec<Option<serde_json::Value>>),
}

#[test]
fn types_that_are_read_by_position() {
    assert_eq!(TypeInfo::of::<Wide>().form(), Form::Compact);
    assert_eq!(TypeInfo::of::<Left>().form(), Form::Compact);
    assert_eq!(TypeInfo::of::<HashMap<String, Vec<Right>>>().form(), Form::Compact);
    assert_eq!(TypeInfo::of::<Vec<Hidden>>().form(), Form::Named);
    assert!(!TypeInfo::of::<Wide>().may_hold_handles());
}

/// Stands for a handle.
struct Handle(u8);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(HANDLE, &self.0)
    }
}

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = u8;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a handle")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<u8, D::Error> {
                u8::deserialize(deserializer)
            }
        }
        let n = deserializer.deserialize_newtype_struct(HANDLE, Visitor)?;
        READ.with_borrow_mut(|read| read.push(n));
        if n == 77 { Ok(Self(n)) } else { Err(serde::de::Error::custom("not handed over")) }
    }
}

#[derive(Serialize, Deserialize)]
struct Holder {
    handles: Vec<Handle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[test]
fn values_with_handles_are_read_back_where_a_field_is_left_out() {
    let values = [(None, 1), (Some("a".to_owned()), 0), (None, 1)];
    for (name, n_read) in values {
        let info = TypeInfo::of::<Holder>();
        assert!(info.may_hold_handles());
        READ.take();
        let mut bytes = Vec::new();
        encode(info, &Holder { handles: vec![Handle(77)], name: name.clone() }, &mut bytes).unwrap();
        assert_eq!(READ.take(), vec![77; n_read]);
        let there: Holder = decode(&bytes).unwrap();
        assert_eq!((there.handles[0].0, there.name), (77, name));
    }
}

#[derive(Serialize, Deserialize)]
struct Lossy {
    handle: Handle,
    #[serde(default = "three", skip_serializing_if = "Option::is_none")]
    retries: Option<u8>,
}

fn three() -> Option<u8> {
    Some(3)
}

#[test]
fn a_value_with_a_handle_that_would_arrive_as_another_is_refused() {
    let info = TypeInfo::of::<Lossy>();
    let mut bytes = Vec::new();
    let lost = encode(info, &Lossy { handle: Handle(77), retries: None }, &mut bytes);
    assert!(lost.unwrap_err().to_string().contains("comes back as another value"));
    encode(info, &Lossy { handle: Handle(77), retries: Some(1) }, &mut bytes).unwrap();
    assert_eq!(decode::<Lossy>(&bytes).unwrap().retries, Some(1));
}

/// A type may do anything with what it reads; a made-up value must not end the process.
#[test]
fn a_deserialize_that_panics_is_taken_as_unknown() {
    #[derive(Serialize)]
    struct Touchy(u8);
    impl<'de> Deserialize<'de> for Touchy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let n = u8::deserialize(deserializer)?;
            assert_eq!(n, 99, "as always");
            Ok(Self(n))
        }
    }
    let info = TypeInfo::of::<Touchy>();
    assert_eq!(info.form(), Form::Named);
    let mut bytes = Vec::new();
    encode(info, &Touchy(99), &mut bytes).unwrap();
    assert_eq!(decode::<Touchy>(&bytes).unwrap().0, 99);
}

/// Two structs of one name are told apart, or named.
#[test]
fn structs_of_one_name() {
    mod other {
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
        pub(super) struct Same {
            #[serde(default, skip_serializing)]
            pub(super) a: u8,
            pub(super) b: u8,
            pub(super) c: u8,
        }
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Same {
        b: u8,
        c: u8,
    }
    let value = (Same { b: 1, c: 2 }, other::Same { a: 0, b: 3, c: 4 });
    let mut bytes = Vec::new();
    for _ in 0..2 {
        bytes.clear();
        encode(TypeInfo::of::<(Same, other::Same)>(), &value, &mut bytes).unwrap();
        assert_eq!(decode::<(Same, other::Same)>(&bytes).unwrap(), value);
    }
}

/// The first value with a variant is tried, however many there were without.
#[test]
fn a_variant_that_is_read_otherwise_is_found_when_it_comes() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Mixed {
        Plain(u8),
        Swapped(Swapped),
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct Swapped {
        a: u8,
        b: u8,
    }
    impl Serialize for Swapped {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut fields = serializer.serialize_struct("Swapped", 2)?;
            fields.serialize_field("b", &self.b)?;
            fields.serialize_field("a", &self.a)?;
            fields.end()
        }
    }
    let info = TypeInfo::of::<Mixed>();
    let swapped = || Mixed::Swapped(Swapped { a: 1, b: 2 });
    for value in [Mixed::Plain(1), Mixed::Plain(2), swapped(), Mixed::Plain(3), swapped()] {
        let mut bytes = Vec::new();
        encode(info, &value, &mut bytes).unwrap();
        assert_eq!(decode::<Mixed>(&bytes).unwrap(), value);
    }
}
