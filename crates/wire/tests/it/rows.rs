//! Many values, one after another.

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::Error as _};
use wire::{TypeInfo, encode, encode_all, take};

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
    let mut rest = &row[1..];
    values.iter().for_each(|value| assert_eq!(take::<T>(&mut rest).unwrap(), *value));
    assert!(rest.is_empty());
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
    let mut rest = &bytes[..];
    values[..10].iter().for_each(|value| assert_eq!(take::<(u64, Odd)>(&mut rest).unwrap(), *value));
    assert!(rest.is_empty());
}
