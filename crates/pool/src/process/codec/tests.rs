use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Form, decode, decode_all, encode, encode_all};

fn packed(value: &(impl Serialize + DeserializeOwned)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    bytes
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let mut bytes = packed(&value);
    let n_bytes = bytes.len();
    bytes.push(77);
    let mut rest = &bytes[..];
    assert_eq!(decode::<T>(&mut rest).unwrap(), value);
    assert_eq!(rest, [77], "{value:?} takes as many bytes as it was given");
    for end in 0..n_bytes {
        assert!(decode::<T>(&mut &bytes[..end]).is_err(), "{value:?} of {end} bytes");
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Point,
    Circle(f64),
    Line((i8, i16), (i32, i64)),
    Named { name: String, corners: Vec<(u16, u32)>, inner: Option<Box<Shape>> },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Unit;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Wrapped<T>(T, u128, i128);

#[test]
fn every_kind_of_value_comes_back() {
    survives(());
    survives((true, false, 'ß', 1.5_f32, -2.5_f64));
    survives((u8::MAX, u16::MAX, u32::MAX, u64::MAX, usize::MAX));
    survives([i8::MIN; 3]);
    survives(String::from("grüße"));
    survives("x".repeat(70_000));
    survives(vec![Some(1_u64), None]);
    survives(BTreeMap::from([(1, "a".to_owned()), (2, "b".to_owned())]));
    survives((0..300).map(|n| (n, n * n)).collect::<HashMap<u32, u32>>());
    survives(vec![Shape::Point, Shape::Circle(1.0), Shape::Line((1, 2), (3, 4))]);
    let inner = Some(Box::new(Shape::Circle(0.0)));
    survives(Shape::Named { name: "n".into(), corners: vec![(1, 2); 300], inner });
    survives(Wrapped(Unit, u128::MAX, i128::MIN));
    survives((vec![(); 1000], vec![Unit; 3].len(), 5_u8));
    survives((vec![vec![(); 300]; 2], Duration::from_nanos(7), std::net::Ipv4Addr::LOCALHOST));
}

#[test]
fn made_up_bytes_are_errors() {
    // Lengths that nothing follows: neither memory nor time is spent on them.
    let long = [&[255][..], &u64::MAX.to_le_bytes(), &[1; 9]].concat();
    assert!(decode::<Vec<u64>>(&mut &long[..]).is_err());
    assert!(decode::<Vec<()>>(&mut &long[..]).is_err());
    assert!(decode::<String>(&mut &long[..]).is_err());
    assert!(decode::<HashMap<(), ()>>(&mut &long[..]).is_err());
    assert!(decode::<Shape>(&mut &long[..]).is_err());
    assert!(decode::<Shape>(&mut &[4_u8][..]).is_err());
    assert!(decode::<bool>(&mut &[2_u8][..]).is_err());
    assert!(decode::<Option<u8>>(&mut &[2_u8, 0][..]).is_err());
    assert!(decode::<char>(&mut &[0, 0xD8, 0, 0][..]).is_err());
    assert!(decode::<String>(&mut &[1, 0xFF][..]).is_err());
    // Whatever the bytes, an answer.
    let mut random = 1_u64;
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..40)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 60) as u8 * 17
            })
            .collect();
        let _ = decode::<(Shape, BTreeMap<String, Vec<Option<i16>>>)>(&mut &bytes[..]);
    }
}

fn a_row_survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static>(values: Vec<T>) {
    let mut bytes = vec![66];
    encode_all(&values, &mut bytes).unwrap();
    assert_eq!(bytes[1..], packed_row(&values), "{values:?}");
    let mut row: Vec<T> = Vec::new();
    let (first, rest) = values.split_at(1);
    for part in [first, rest] {
        decode_all(part.len(), &mut &*packed_row(part), &mut row).unwrap();
    }
    assert_eq!(row, values, "appended to what is there");
    bytes.push(77);
    let mut left = &bytes[1..];
    decode_all(values.len(), &mut left, &mut Vec::<T>::new()).unwrap();
    assert_eq!(left, [77], "{values:?} takes as many bytes as it was given");
    for end in 1..bytes.len() - 1 {
        assert!(decode_all(values.len(), &mut &bytes[1..end], &mut Vec::<T>::new()).is_err(), "{values:?}");
    }
}

/// As a worker packs results, one after another.
fn packed_row<T: Serialize + DeserializeOwned>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let form = Form::of(&values[0]);
    if !wire::is_plain::<T>() {
        bytes.extend_from_slice(&form.word());
    }
    let mut packed = Vec::new();
    for value in values {
        match &form {
            Form::Each => {
                packed.clear();
                encode(value, &mut packed).unwrap();
            }
            Form::Flat(flat) => assert!(flat.encode_over(value, &mut packed)),
        }
        bytes.extend_from_slice(&packed);
    }
    bytes
}

#[test]
fn a_row_is_its_values_one_by_one() {
    a_row_survives(vec![u8::MAX, 0, 1]);
    a_row_survives(vec![i8::MIN, -1]);
    a_row_survives(vec![u16::MAX, 258]);
    a_row_survives(vec![i16::MIN, 258]);
    a_row_survives(vec![u32::MAX, 0x01020304]);
    a_row_survives(vec![i32::MIN, 0x01020304]);
    a_row_survives(vec![u64::MAX, 0x0102030405060708]);
    a_row_survives(vec![i64::MIN, 0x0102030405060708]);
    a_row_survives(vec![usize::MAX, 513]);
    a_row_survives(vec![isize::MIN, 513]);
    a_row_survives(vec![u128::MAX, 7]);
    a_row_survives(vec![i128::MIN, 7]);
    a_row_survives(vec![0.5_f32, -1.5]);
    a_row_survives(vec![0.5_f64, -1.5, f64::INFINITY]);
    a_row_survives(vec![true, false]);
    a_row_survives(vec!['ß', 'x']);
    a_row_survives(vec![(1_u8, "a".to_owned()), (2, String::new())]);
    a_row_survives(vec![vec![1_u64, 2], vec![3]]);
    a_row_survives(vec![(1_u64, 0.5_f64), (u64::MAX, -1.5)]);
    a_row_survives(vec![(true, 'ß', -1_i16), (false, 'x', 2)]);
    a_row_survives(vec![Wrapped(Unit, u128::MAX, -1), Wrapped(Unit, 0, 1)]);
    a_row_survives(vec![Wrapped([[1_u8; 3]; 2], 1, 2), Wrapped([[7; 3]; 2], 3, 4)]);
}

/// Its numbers are as long as the value says: nothing that can go without tags.
#[derive(Deserialize, PartialEq, Debug)]
struct Fickle(u32, u32);

impl Serialize for Fickle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < 1000 {
            (self.0 as u8, self.1).serialize(serializer)
        } else {
            (self.0, self.1).serialize(serializer)
        }
    }
}

#[test]
fn a_row_with_a_value_that_is_written_otherwise_survives() {
    let values = [Fickle(2000, 1), Fickle(2000, 2), Fickle(7, 3), Fickle(2000, 4)];
    let Form::Flat(flat) = Form::of(&values[0]) else { panic!("values of the usual kind go without tags") };
    let mut bytes = Vec::new();
    assert!(!flat.encode_over(&values[2], &mut bytes));
    bytes.clear();
    encode_all(&values, &mut bytes).unwrap();
    let mut row: Vec<Fickle> = Vec::new();
    decode_all(values.len(), &mut &bytes[..], &mut row).unwrap();
    assert_eq!(row, values);
}

#[test]
fn a_row_in_no_known_form_is_an_error() {
    let bytes = [2_u8; 100];
    let decoded = decode_all(2, &mut &bytes[..], &mut Vec::<(u64, u64)>::new());
    assert!(decoded.unwrap_err().to_string().contains("no known form"));
}
