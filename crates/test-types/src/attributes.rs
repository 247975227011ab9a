//! What serde's attributes do to structs.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::{
    Must::{Arrive, BeAnError, BeRefused},
    Visit,
};

/// A derived struct or enum.
macro_rules! derived {
    ($item:item) => {
        #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
        $item
    };
}

derived!(
    struct SkipNone {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retries: Option<u32>,
        verbose: bool,
        names: Vec<String>,
    }
);
derived!(
    struct SkipTwoOptions {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        a: Option<bool>,
        b: Option<bool>,
    }
);
derived!(
    struct SkipNoDefault {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        b: Vec<u8>,
    }
);
derived!(
    struct SkipOtherDefault {
        #[serde(default = "one", skip_serializing_if = "is_zero")]
        a: u8,
        b: u8,
    }
);
fn one() -> u8 {
    1
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}
derived!(
    struct SkipField {
        a: u8,
        #[serde(skip)]
        b: u8,
        c: u8,
    }
);
derived!(
    struct SkipSerializing {
        a: u8,
        #[serde(default, skip_serializing)]
        b: u8,
        c: u8,
    }
);
derived!(
    struct SkipSerializingNoDefault {
        a: u8,
        #[serde(skip_serializing)]
        b: u8,
    }
);
derived!(
    struct SkipDeserializing {
        a: u8,
        #[serde(skip_deserializing)]
        b: u8,
        c: u8,
    }
);
derived!(
    struct SkipInTuple(u8, #[serde(default, skip_serializing_if = "Option::is_none")] Option<u8>);
);
derived!(
    struct SkipAtTheEnd {
        a: u8,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        b: String,
    }
);
derived!(
    struct Rename {
        #[serde(rename = "type")]
        a: u8,
        #[serde(alias = "other")]
        b: u8,
    }
);
derived!(
    #[serde(rename_all = "camelCase")]
    struct RenameAll {
        some_field: u8,
        other_field: String,
    }
);
derived!(
    struct RenameApart {
        #[serde(rename(serialize = "written", deserialize = "read"))]
        a: u8,
        b: String,
    }
);
derived!(
    #[serde(rename(serialize = "Written", deserialize = "Read"))]
    struct RenameContainerApart {
        a: u8,
    }
);
derived!(
    #[serde(default)]
    struct DefaultContainer {
        a: u8,
        b: Option<u8>,
    }
);
impl Default for DefaultContainer {
    fn default() -> Self {
        Self { a: 7, b: Some(7) }
    }
}
derived!(
    #[serde(deny_unknown_fields)]
    struct DenyUnknown {
        a: u8,
        b: Option<u8>,
    }
);
derived!(
    #[serde(transparent)]
    struct Transparent {
        inner: Vec<u16>,
    }
);
derived!(
    struct Inner {
        x: u8,
        y: Option<String>,
    }
);
derived!(
    struct Flatten {
        id: u8,
        #[serde(flatten)]
        inner: Inner,
    }
);
derived!(
    struct FlattenOption {
        id: u8,
        #[serde(flatten)]
        inner: Option<Inner>,
    }
);
derived!(
    struct FlattenMap {
        id: u8,
        #[serde(flatten)]
        extra: BTreeMap<String, serde_json::Value>,
    }
);
derived!(
    struct FlattenMapOfAddresses {
        #[serde(flatten)]
        extra: HashMap<String, IpAddr>,
    }
);
derived!(
    struct FlattenTwice {
        #[serde(flatten)]
        a: Inner,
        #[serde(flatten)]
        b: FlattenOther,
    }
);
derived!(
    struct FlattenOther {
        z: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        w: Option<[u8; 3]>,
    }
);
derived!(
    struct FlattenCollision {
        x: u16,
        #[serde(flatten)]
        inner: BTreeMap<String, u16>,
    }
);
derived!(
    #[serde(into = "(u8, u8)", from = "(u8, u8)")]
    struct IntoFrom {
        a: u8,
        b: u8,
    }
);
impl From<(u8, u8)> for IntoFrom {
    fn from((a, b): (u8, u8)) -> Self {
        Self { a, b }
    }
}
impl From<IntoFrom> for (u8, u8) {
    fn from(IntoFrom { a, b }: IntoFrom) -> Self {
        (a, b)
    }
}
derived!(
    #[serde(try_from = "u32", into = "u32")]
    struct Even(u32);
);
impl TryFrom<u32> for Even {
    type Error = String;
    fn try_from(n: u32) -> Result<Self, String> {
        if n.is_multiple_of(2) { Ok(Self(n)) } else { Err(format!("{n} is odd")) }
    }
}
impl From<Even> for u32 {
    fn from(even: Even) -> Self {
        even.0
    }
}
derived!(
    #[serde(try_from = "String", into = "String")]
    struct Email(String);
);
impl TryFrom<String> for Email {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.contains('@') { Ok(Self(text)) } else { Err("no @") }
    }
}
impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}
derived!(
    struct With {
        #[serde(with = "as_text")]
        a: u64,
        #[serde(serialize_with = "as_text::serialize", deserialize_with = "as_text::deserialize")]
        b: Vec<u8>,
    }
);
mod as_text {
    use super::*;
    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(value).map_err(serde::ser::Error::custom)?)
    }
    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
derived!(
    struct WithOtherNumber {
        #[serde(serialize_with = "small", deserialize_with = "large")]
        a: i64,
        b: u8,
    }
);
fn small<S: Serializer>(n: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i32(*n as i32)
}
fn large<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    i64::deserialize(deserializer)
}
derived!(
    struct Bytes {
        #[serde(with = "serde_bytes")]
        a: Vec<u8>,
        b: serde_bytes::ByteBuf,
    }
);
derived!(
    #[serde(bound = "T: Serialize + DeserializeOwned")]
    struct BoundBy<T> {
        a: T,
    }
);
derived!(
    struct Remote {
        #[serde(with = "Definition")]
        point: Point,
    }
);
#[derive(PartialEq, Debug, Clone)]
struct Point {
    x: i32,
    y: i32,
}
#[derive(Serialize, Deserialize)]
#[serde(remote = "Point")]
struct Definition {
    x: i32,
    y: i32,
}
derived!(
    struct Getter {
        #[serde(with = "HiddenDef")]
        hidden: hidden::Hidden,
    }
);
mod hidden {
    #[derive(PartialEq, Debug, Clone)]
    pub(super) struct Hidden(u8);
    impl Hidden {
        pub(super) fn new(n: u8) -> Self {
            Self(n)
        }
        pub(super) fn get(&self) -> u8 {
            self.0
        }
    }
}
#[derive(Serialize, Deserialize)]
#[serde(remote = "hidden::Hidden")]
struct HiddenDef {
    #[serde(getter = "hidden::Hidden::get")]
    n: u8,
}
impl From<HiddenDef> for hidden::Hidden {
    fn from(h: HiddenDef) -> Self {
        Self::new(h.n)
    }
}
derived!(
    struct Keyed {
        map: BTreeMap<Key, u8>,
    }
);
#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
enum Key {
    A,
    B(u8),
}

/// Written as a map of unknown length.
#[derive(PartialEq, Debug, Clone)]
struct Unsized(BTreeMap<String, u8>);
impl Serialize for Unsized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
impl<'de> Deserialize<'de> for Unsized {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self)
    }
}

/// Announces a wrong length.
#[derive(PartialEq, Debug, Clone)]
struct Liar(Vec<u8>);
impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut seq = serializer.serialize_seq(Some(self.0.len() + 1))?;
        for element in &self.0 {
            seq.serialize_element(element)?;
        }
        seq.end()
    }
}
impl<'de> Deserialize<'de> for Liar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

/// Written as text, by `collect_str`.
#[derive(PartialEq, Debug, Clone)]
struct Displayed(u8, u8);
impl fmt::Display for Displayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}
impl Serialize for Displayed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Displayed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once('-').and_then(|(a, b)| Some(Self(a.parse().ok()?, b.parse().ok()?)));
        parts.ok_or_else(|| serde::de::Error::custom("not two numbers"))
    }
}

/// A number or a text, whichever is shorter to say.
#[derive(PartialEq, Debug, Clone)]
struct NumberOrText(u64);
impl Serialize for NumberOrText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < 10 { serializer.serialize_u64(self.0) } else { serializer.serialize_str(&self.0.to_string()) }
    }
}
impl<'de> Deserialize<'de> for NumberOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = NumberOrText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or text")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<NumberOrText, E> {
                Ok(NumberOrText(n))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NumberOrText, E> {
                text.parse().map(NumberOrText).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Its `Serialize` knows fields that its `Deserialize` has in another order.
#[derive(Deserialize, PartialEq, Debug, Clone)]
struct OtherOrder {
    a: u8,
    b: u8,
}
impl Serialize for OtherOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("OtherOrder", 2)?;
        fields.serialize_field("b", &self.b)?;
        fields.serialize_field("a", &self.a)?;
        fields.end()
    }
}

pub(crate) fn all(v: &mut impl Visit) {
    skips(v);
    names(v);
    flattened(v);
    conversions(v);
    by_hand(v);
}

fn skips(v: &mut impl Visit) {
    let some = |retries| SkipNone { retries, verbose: false, names: vec![String::new()] };
    v.visit("skip_serializing_if, default", Arrive, vec![some(None), some(Some(3))]);
    v.visit("Vec of skip_serializing_if", Arrive, vec![vec![], vec![some(Some(1)), some(None)]]);
    let all = [None, Some(false), Some(true)];
    let pairs = all.into_iter().flat_map(|a| all.map(|b| SkipTwoOptions { a, b })).collect::<Vec<_>>();
    v.visit("skip_serializing_if before the same type", Arrive, pairs);
    v.visit("skip_serializing_if without default, there", Arrive, vec![SkipNoDefault { a: None, b: vec![1] }]);
    v.visit("skip_serializing_if without default, left out", BeRefused, vec![SkipNoDefault { a: None, b: vec![] }]);
    v.visit("skip_serializing_if, same default", Arrive, vec![SkipOtherDefault { a: 5, b: 1 }]);
    v.visit("skip_serializing_if, other default", BeRefused, vec![SkipOtherDefault { a: 0, b: 1 }]);
    v.visit("skip", Arrive, vec![SkipField { a: 1, b: 0, c: 3 }]);
    v.visit("skip_serializing, default", Arrive, vec![SkipSerializing { a: 1, b: 0, c: 3 }]);
    v.visit("skip_serializing without default", BeRefused, vec![SkipSerializingNoDefault { a: 1, b: 2 }]);
    v.visit("skip_deserializing", Arrive, vec![SkipDeserializing { a: 1, b: 0, c: 3 }]);
    v.visit("skip_serializing_if in a tuple struct", Arrive, vec![SkipInTuple(1, Some(2)), SkipInTuple(1, None)]);
    v.visit(
        "skip_serializing_if, last",
        Arrive,
        vec![SkipAtTheEnd { a: 1, b: "b".into() }, SkipAtTheEnd { a: 1, b: String::new() }],
    );
}

fn names(v: &mut impl Visit) {
    v.visit("rename, alias", Arrive, vec![Rename { a: 1, b: 2 }]);
    v.visit("rename_all", Arrive, vec![RenameAll { some_field: 1, other_field: "a".into() }]);
    v.visit("rename(serialize, deserialize)", Arrive, vec![RenameApart { a: 1, b: "a".into() }]);
    v.visit("rename(serialize, deserialize) of a struct", Arrive, vec![RenameContainerApart { a: 1 }]);
    v.visit("default of a struct", Arrive, vec![DefaultContainer { a: 1, b: None }]);
    v.visit("deny_unknown_fields", Arrive, vec![DenyUnknown { a: 1, b: None }]);
    v.visit("transparent", Arrive, vec![Transparent { inner: vec![1, 2] }]);
}

fn flattened(v: &mut impl Visit) {
    let inner = |y: Option<&str>| Inner { x: 5, y: y.map(Into::into) };
    v.visit("flatten", Arrive, vec![Flatten { id: 1, inner: inner(Some("y")) }, Flatten { id: 1, inner: inner(None) }]);
    v.visit(
        "flatten an option",
        Arrive,
        vec![FlattenOption { id: 1, inner: None }, FlattenOption { id: 1, inner: Some(inner(None)) }],
    );
    let extra = BTreeMap::from([("k".to_owned(), serde_json::json!({"a": [1, null, -2.5, "x"]}))]);
    v.visit("flatten a map", Arrive, vec![FlattenMap { id: 1, extra }]);
    let extra = HashMap::from([("k".to_owned(), IpAddr::from([127, 0, 0, 1]))]);
    v.visit("flatten a map of addresses", Arrive, vec![FlattenMapOfAddresses { extra }]);
    v.visit(
        "flatten twice, skip inside",
        Arrive,
        vec![
            FlattenTwice { a: inner(None), b: FlattenOther { z: 0.5, w: None } },
            FlattenTwice { a: inner(None), b: FlattenOther { z: 0.5, w: Some([1, 2, 3]) } },
        ],
    );
    let none = FlattenCollision { x: 1, inner: BTreeMap::from([("y".to_owned(), 2)]) };
    v.visit("flatten without collision", Arrive, vec![none]);
    let twice = FlattenCollision { x: 1, inner: BTreeMap::from([("x".to_owned(), 2)]) };
    v.visit("flatten with collision", BeRefused, vec![twice]);
}

fn conversions(v: &mut impl Visit) {
    v.visit("into, from", Arrive, vec![IntoFrom { a: 1, b: 2 }]);
    v.visit("try_from", Arrive, vec![Even(0), Even(8)]);
    v.visit("try_from that refuses", BeAnError, vec![Even(7)]);
    v.visit("try_from of text", Arrive, vec![Email("a@b".into())]);
    v.visit("tuple of try_from", Arrive, vec![(Email("a@b".into()), Even(2), Inner { x: 1, y: None })]);
    v.visit("with", Arrive, vec![With { a: 1, b: vec![1, 2] }]);
    v.visit("with another number", Arrive, vec![WithOtherNumber { a: -5, b: 1 }]);
    v.visit("serde_bytes", Arrive, vec![Bytes { a: vec![1, 200], b: serde_bytes::ByteBuf::from(vec![3; 300]) }]);
    v.visit("bound", Arrive, vec![BoundBy { a: vec![1_u8] }]);
    v.visit("remote", Arrive, vec![Remote { point: Point { x: 1, y: -1 } }]);
    v.visit("getter", Arrive, vec![Getter { hidden: hidden::Hidden::new(4) }]);
    v.visit("enum as a key", Arrive, vec![Keyed { map: BTreeMap::from([(Key::A, 1), (Key::B(2), 2)]) }]);
}

fn by_hand(v: &mut impl Visit) {
    v.visit(
        "map of unknown length",
        Arrive,
        vec![Unsized(BTreeMap::from([("a".into(), 1)])), Unsized(BTreeMap::new())],
    );
    v.visit("sequence of a wrong length", Arrive, vec![Liar(vec![1, 2])]);
    v.visit("collect_str", Arrive, vec![Displayed(1, 2)]);
    v.visit("deserialize_any", Arrive, vec![NumberOrText(1), NumberOrText(100)]);
    v.visit("Option of deserialize_any", Arrive, vec![None, Some(NumberOrText(1))]);
    v.visit("fields in another order", Arrive, vec![OtherOrder { a: 1, b: 2 }, OtherOrder { a: 3, b: 3 }]);
}
