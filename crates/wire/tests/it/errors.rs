//! What an error says.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wire::{ErrorKind, TypeInfo, decode, encode};

fn packed<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(TypeInfo::of::<T>(), value, &mut bytes).unwrap();
    bytes
}

fn refused<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> wire::Error {
    let mut bytes = vec![1];
    let error = encode(TypeInfo::of::<T>(), value, &mut bytes).unwrap_err();
    assert_eq!(bytes, [1], "nothing is left of it");
    error
}

#[derive(Debug)]
struct Grumpy(bool);

impl Serialize for Grumpy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(serde::ser::Error::custom("not today")) } else { serializer.serialize_bool(false) }
    }
}

impl<'de> Deserialize<'de> for Grumpy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(Self)
    }
}

#[derive(Serialize, Deserialize, Debug)]
struct Job {
    name: String,
    steps: Vec<(u8, Grumpy)>,
}

#[test]
fn the_words_of_serialize_and_the_place_are_kept() {
    let steps = vec![(0, Grumpy(false)), (1, Grumpy(true))];
    let error = refused(&Job { name: "a".into(), steps });
    assert_eq!(error.to_string(), "not today, at `steps[1][1]`");
    assert_eq!(error.kind(), ErrorKind::Custom);
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
#[serde(try_from = "u8", into = "u8")]
struct Odd(u8);

impl TryFrom<u8> for Odd {
    type Error = String;
    fn try_from(n: u8) -> Result<Self, String> {
        if n % 2 == 1 { Ok(Self(n)) } else { Err(format!("{n} is not odd")) }
    }
}

impl From<Odd> for u8 {
    fn from(odd: Odd) -> Self {
        odd.0
    }
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Row {
    id: u8,
    cells: Vec<Odd>,
}

#[test]
fn the_words_of_deserialize_and_the_place_are_kept() {
    let mut bytes = packed(&Row { id: 1, cells: vec![Odd(1), Odd(3)] });
    *bytes.last_mut().unwrap() += 1;
    assert_eq!(decode::<Row>(&bytes).unwrap_err().to_string(), "4 is not odd, at `cells[1]`");
    let mut named = Vec::new();
    wire::encode_named(&Row { id: 1, cells: vec![Odd(1), Odd(4)] }, &mut named).unwrap();
    assert_eq!(decode::<Row>(&named).unwrap_err().to_string(), "4 is not odd, at `cells[1]`");
}

#[derive(Serialize, Deserialize, Debug)]
struct Lossy {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<u8>,
}

#[test]
fn a_refusal_names_the_type_the_attribute_and_the_way_out() {
    let text = refused(&Lossy { list: vec![] }).to_string();
    for part in ["it::errors::Lossy", "missing field `list`", "skip_serializing_if", "`default`"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_value_that_would_come_back_as_another_is_refused_with_the_likely_reasons() {
    let text = refused(&Changing { n: None }).to_string();
    for part in
        ["it::errors::Changing", "it comes back as another value than it was", "`untagged`", "another `default`"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[derive(Serialize, Deserialize, Debug)]
struct Changing {
    #[serde(skip_serializing_if = "Option::is_none", default = "Changing::one")]
    n: Option<u32>,
}

impl Changing {
    fn one() -> Option<u32> {
        Some(1)
    }
}

#[test]
fn a_path_that_is_no_text_is_refused_in_its_own_words() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};
    let path = PathBuf::from(OsStr::from_bytes(b"\xff"));
    assert_eq!(refused(&path).to_string(), "path contains invalid UTF-8 characters");
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Chain(Option<Box<Chain>>);

fn chain(len: usize) -> Chain {
    (0..len).fold(Chain(None), |rest, _| Chain(Some(Box::new(rest))))
}

#[test]
fn deep_values_are_an_error_on_both_sides() {
    let deep = chain(100);
    assert_eq!(decode::<Chain>(&packed(&deep)).unwrap(), deep);
    // Made where there is room, and written where there is none.
    let large = std::thread::Builder::new().stack_size(256 << 20);
    let run = || {
        let deepest = chain(20_000);
        let small = std::thread::Builder::new().stack_size(128 << 10);
        let error =
            std::thread::scope(|scope| small.spawn_scoped(scope, || refused(&deepest)).unwrap().join().unwrap());
        assert_eq!(error.kind(), ErrorKind::TooDeep);
        assert_eq!(error.to_string(), "nested too deeply for this thread's stack");
        let bytes = packed(&deepest);
        assert_eq!(decode::<Chain>(&bytes).unwrap(), deepest);
        bytes
    };
    let bytes = large.spawn(run).unwrap().join().unwrap();
    assert_eq!(decode::<Chain>(&bytes).unwrap_err().kind(), ErrorKind::TooDeep);
    // One `Some` after another, and an end that never comes.
    let bottomless = vec![2; 10_000_000];
    assert_eq!(decode::<Chain>(&bottomless).unwrap_err().kind(), ErrorKind::TooDeep);
    assert!(decode::<Vec<serde_json::Value>>(&vec![23; 10_000_000]).is_err());
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut bytes = packed(&7_u32);
    bytes.push(0);
    assert_eq!(decode::<u32>(&bytes).unwrap_err().to_string(), "1 bytes are left over after the value");
    let mut rest = &bytes[..];
    assert_eq!(wire::take::<u32>(&mut rest).unwrap(), 7);
    assert_eq!(rest, [0]);
}

#[test]
fn another_type_is_an_error() {
    assert!(decode::<String>(&packed(&7_u32)).is_err());
    assert!(decode::<(u8, u8)>(&packed(&(1_u8, 2_u8, 3_u8))).is_err());
    assert!(decode::<Row>(&packed(&(1_u8, vec![1_u8]))).is_ok(), "a tuple of the same things is as good");
    assert!(decode::<u8>(&packed(&300_u32)).is_err());
}

#[test]
fn a_refusal_says_what_serde_cannot_keep_and_what_is_not_read() {
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(untagged)]
    enum Wide {
        Number(i128),
        Text(String),
    }
    #[derive(Serialize, Deserialize, Debug)]
    enum OneWay {
        Both(u8),
        #[serde(skip_deserializing)]
        There(u8),
    }
    fn refused<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> String {
        wire::encode(TypeInfo::of::<T>(), value, &mut Vec::new()).unwrap_err().to_string()
    }
    let (wide, one_way) = (refused(&Wide::Number(i128::MIN)), refused(&OneWay::There(1)));
    assert!(wide.contains("64 bits") && wide.contains("write these as text"), "{wide}");
    assert!(one_way.contains("skip_deserializing") && one_way.contains("have it read"), "{one_way}");
    assert!(wire::encode(TypeInfo::of::<Wide>(), &Wide::Text(String::new()), &mut Vec::new()).is_ok());
    assert!(wire::encode(TypeInfo::of::<OneWay>(), &OneWay::Both(1), &mut Vec::new()).is_ok());
}
