//! Many values, one after another.

use std::{cell::RefCell, net::IpAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, ser::Error as _};
use wire::{OneByOne, TypeInfo, encode, encode_all, take_all};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Item {
    id: u64,
    name: String,
    size: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

fn item(id: u64, name_len: usize) -> Item {
    Item { id, name: "n".repeat(name_len), size: None, tags: vec![String::new()] }
}

/// The row is what its values are, and comes back.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[T]) {
    let info = TypeInfo::of::<T>();
    let mut row = vec![7];
    encode_all(info, values, &mut row).unwrap();
    let mut each = vec![7];
    values.iter().for_each(|value| encode(info, value, &mut each).unwrap());
    assert!(row == each);
    let mut one_by_one = OneByOne::of();
    let mut place = 1;
    for value in values {
        let bytes = one_by_one.encode(value).unwrap();
        assert!(row[place..].starts_with(bytes));
        place += bytes.len();
    }
    assert_eq!(place, row.len());
    let (mut rest, mut back) = (&row[1..], Vec::<T>::new());
    take_all(values.len(), &mut rest, &mut back).unwrap();
    assert!(rest.is_empty() && back == values);
}

#[test]
fn a_row_is_its_values() {
    survives::<Item>(&[]);
    survives(&(0..1000).map(|n| item(n, n as usize % 50)).collect::<Vec<_>>());
    survives(&(0..300).map(|n| "ä text ".repeat(n)).collect::<Vec<_>>());
    survives(&(0..300).map(|n| vec![n as u16; n]).collect::<Vec<_>>());
    // Long ones between short ones.
    for every in 2..5 {
        survives(&(0..300).map(|n| "text".repeat(if n % every == 0 { 20 * n } else { n % 9 })).collect::<Vec<_>>());
    }
    survives(&(0..50).map(|n| (n, vec![String::from("x"); 200 * n])).collect::<Vec<_>>());
    survives(&(0..50).map(|n| serde_json::json!({ "n": n })).collect::<Vec<_>>());
}

/// Addresses are text where names go along, and numbers where not: each value of a row is read as it was written.
#[test]
fn values_of_either_form_are_read_in_theirs() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Host {
        ip: IpAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    for every in 1..4 {
        let name = |n: u8| n.is_multiple_of(every).then(|| format!("host {n}"));
        survives(&(0..200).map(|n| Host { ip: [10, 0, 0, n].into(), name: name(n) }).collect::<Vec<_>>());
    }
    survives(&(0..200).map(|n| Host { ip: [10, 0, 0, n].into(), name: None }).collect::<Vec<_>>());
}

/// They are read back one by one, and go in the form that carries them.
#[test]
fn some_of_it_is_there_for_the_first_time() {
    let mut items: Vec<Item> = (0..100).map(|n| item(n, 5)).collect();
    items[40].size = Some(7);
    items[41].size = Some(8);
    items[60].tags = Vec::new();
    items[80].name = "long".repeat(5000);
    survives(&items);
}

/// Fails for one value, after some of it has been written.
#[derive(Deserialize, PartialEq, Debug)]
struct Odd(u8);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 200 {
            Err(S::Error::custom("not this one"))
        } else {
            serializer.serialize_newtype_struct("Odd", &self.0)
        }
    }
}

#[test]
fn an_error_says_which_value_it_was() {
    let values: Vec<(u64, Odd)> = (190..210).map(|n| (7, Odd(n))).collect();
    let mut bytes = Vec::new();
    let (at, why) = encode_all(TypeInfo::of::<(u64, Odd)>(), &values, &mut bytes).unwrap_err();
    assert_eq!(at, 10);
    assert!(why.to_string().contains("not this one"), "{why}");
    let (mut rest, mut back) = (&bytes[..], Vec::<(u64, Odd)>::new());
    take_all(10, &mut rest, &mut back).unwrap();
    assert!(rest.is_empty() && back == values[..10]);
    let mut one_by_one = OneByOne::of();
    for value in values {
        let written = one_by_one.encode(&value);
        assert_eq!(written.is_err(), value.1.0 == 200);
    }
}

/// Notes each value that is read.
#[derive(Serialize, PartialEq, Debug)]
struct Noted(u16);

thread_local! {
    static READ: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

impl<'de> Deserialize<'de> for Noted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        READ.with_borrow_mut(|read| read.push(number));
        Ok(Self(number))
    }
}

#[test]
fn after_an_error_nothing_more_is_read() {
    let mut bytes = Vec::new();
    encode_all(TypeInfo::of::<(Noted, Odd)>(), &(0..8).map(|n| (Noted(n), Odd(7))).collect::<Vec<_>>(), &mut bytes)
        .unwrap();
    let value_bytes = bytes.len() / 8;
    for broken in 0..8 {
        READ.take();
        let mut bytes = bytes.clone();
        // Ends the number of the next value early.
        bytes[(broken + 1) * value_bytes - 1] = u8::MAX >> 1;
        let (mut rest, mut values) = (&bytes[..], Vec::<(Noted, Odd)>::new());
        take_all(8, &mut rest, &mut values).unwrap_err();
        assert_eq!(READ.take(), (0..=broken as u16).collect::<Vec<_>>());
        assert_eq!(rest.len(), bytes.len());
    }
    let mut values = Vec::<(Noted, Odd)>::new();
    take_all(9, &mut &bytes[..], &mut values).unwrap_err();
    take_all(usize::MAX, &mut &bytes[..], &mut Vec::<(Noted, Odd)>::new()).unwrap_err();
}
