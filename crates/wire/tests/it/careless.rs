//! Types whose own `Serialize` or `Deserialize` does not look: what comes of it is the value that was sent, or an error.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::DeserializeOwned,
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};
use wire::{OneByOne, TypeInfo, decode, encode};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Kind {
    A,
    B(u32),
    C { x: String },
}

/// Ignores errors of its elements.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(transparent)]
struct Elements<T>(Vec<T>);

impl<T: Serialize> Serialize for Elements<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut elements = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().for_each(|element| drop(elements.serialize_element(element)));
        elements.end()
    }
}

/// Ignores errors of its entries.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(transparent)]
struct Entries<T>(std::collections::BTreeMap<String, T>);

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_map(None)?;
        for (key, value) in &self.0 {
            drop(entries.serialize_key(key));
            drop(entries.serialize_value(value));
        }
        entries.end()
    }
}

/// Ignores errors of its fields.
#[derive(Deserialize, PartialEq, Debug)]
struct Fields<T> {
    first: T,
    second: T,
}

impl<T: Serialize> Serialize for Fields<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Fields", 2)?;
        drop(fields.serialize_field("first", &self.first));
        drop(fields.serialize_field("second", &self.second));
        fields.end()
    }
}

/// Each is sent, one after another, and comes back as it was.
fn come_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[T]) {
    let mut one_by_one = OneByOne::of();
    for value in values {
        let mut bytes = Vec::new();
        encode(TypeInfo::of::<T>(), value, &mut bytes).unwrap();
        assert_eq!(decode::<T>(&bytes).unwrap(), *value);
        assert_eq!(decode::<T>(one_by_one.encode(value).unwrap()).unwrap(), *value);
    }
}

#[test]
fn errors_that_are_not_passed_on_are_not_lost() {
    let kinds = [Kind::A, Kind::B(1), Kind::A, Kind::C { x: "c".into() }];
    for n in [1, 2, 4] {
        let few = || kinds[..n].to_vec();
        come_back(&[Elements(few()), Elements(kinds.to_vec())]);
        come_back(&[
            Fields { first: Kind::A, second: Kind::A },
            Fields { first: few().remove(n - 1), second: Kind::A },
        ]);
        come_back(&[Fields { first: Kind::A, second: few().remove(n - 1) }]);
        let entries =
            |kinds: Vec<Kind>| Entries(kinds.into_iter().enumerate().map(|(n, kind)| (n.to_string(), kind)).collect());
        come_back(&[entries(few()), entries(kinds.to_vec())]);
    }
}

#[test]
fn what_has_no_room_is_not_cut() {
    for n in 0..300 {
        let text = |n: usize| "x".repeat(n);
        come_back(&[Elements(vec![text(n), text(n)])]);
        come_back(&[Fields { first: text(n), second: text(3) }, Fields { first: text(3), second: text(n) }]);
        come_back(&[Entries([(text(n), text(n)), (text(n + 1), text(n))].into())]);
    }
}

#[test]
fn error_of_a_part_that_is_not_passed_on_is_an_error_of_the_whole() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not this one"))
        }
    }
    let refused = |sent: Result<(), wire::Error>| {
        let why = sent.unwrap_err().to_string();
        assert!(why.contains("has not passed the error on"), "{why}");
    };
    refused(encode(TypeInfo::of::<Elements<Refuses>>(), &Elements(vec![Refuses]), &mut Vec::new()));
    refused(encode(TypeInfo::of::<Entries<Refuses>>(), &Entries([("a".into(), Refuses)].into()), &mut Vec::new()));
    let both = Fields { first: Refuses, second: Refuses };
    refused(encode(TypeInfo::of::<Fields<Refuses>>(), &both, &mut Vec::new()));
}

/// Reads three elements and no more, of however many.
fn first_three<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Three;
    impl<'de> serde::de::Visitor<'de> for Three {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("three numbers")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
            (0..3).map_while(|_| elements.next_element().transpose()).collect()
        }
    }
    deserializer.deserialize_seq(Three)
}

#[test]
fn elements_that_are_not_read_are_an_error() {
    fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Numbers {
        #[serde(deserialize_with = "first_three")]
        numbers: Vec<u8>,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Bytes {
        #[serde(serialize_with = "as_bytes", deserialize_with = "first_three")]
        numbers: Vec<u8>,
    }
    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(of: impl Fn(Vec<u8>) -> T) {
        come_back(&[of(vec![1, 2, 3])]);
        let (mut bytes, four) = (Vec::new(), of(vec![1, 2, 3, 4]));
        // Written by one who has sent good ones only.
        if encode(TypeInfo::of::<T>(), &four, &mut bytes).is_ok() {
            decode::<T>(&bytes).unwrap_err();
        }
    }
    check(|numbers| Numbers { numbers });
    check(|numbers| Bytes { numbers });
}
