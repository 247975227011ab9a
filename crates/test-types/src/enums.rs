//! Enums in all their representations.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    Must::{Arrive, BeRefused},
    Visit,
};

macro_rules! derived {
    ($item:item) => {
        #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
        $item
    };
}

derived!(
    enum Units {
        A,
        B,
        C,
    }
);
derived!(
    enum External {
        Unit,
        Newtype(u8),
        NewtypeOfUnit(()),
        Tuple(u8, String),
        Struct { a: u8, b: Option<u8> },
        Nested(Box<External>),
        Inner(Units),
        EmptyTuple(),
        EmptyStruct {},
    }
);
derived!(
    #[serde(tag = "type")]
    enum Internal {
        Unit,
        Struct { a: u8, b: Option<u8>, when: Option<u64> },
        Newtype(Content),
        Address { ip: IpAddr },
    }
);
derived!(
    struct Content {
        x: i64,
        y: Vec<u8>,
        z: BTreeMap<String, f64>,
    }
);
derived!(
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        Unit,
        Newtype(u8),
        Tuple(u8, String),
        Struct { a: u8 },
    }
);
derived!(
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Text(String),
        Many(Vec<Untagged>),
        Struct { a: u8, b: Option<u8> },
        Content(Content),
        Nothing,
    }
);
derived!(
    #[serde(untagged)]
    enum Alike {
        Small(u8),
        Large(u16),
    }
);
derived!(
    #[serde(untagged)]
    enum AlikeStructs {
        First { a: u8 },
        Second { a: u8 },
    }
);
derived!(
    #[serde(untagged)]
    enum AlikeNewtypes {
        First(OneA),
        Second(TwoA),
    }
);
derived!(
    struct OneA {
        a: u8,
    }
);
derived!(
    struct TwoA {
        a: u8,
    }
);
derived!(
    #[serde(untagged)]
    enum Overlapping {
        Less { a: u8 },
        More { a: u8, b: u8 },
    }
);
derived!(
    #[serde(rename_all = "snake_case")]
    enum RenameAllVariants {
        FirstOne,
        SecondOne { some_field: u8 },
    }
);
derived!(
    enum RenameVariantApart {
        #[serde(rename(serialize = "w", deserialize = "r"))]
        A(u8),
        B,
    }
);
derived!(
    enum WithAlias {
        #[serde(alias = "x")]
        A,
        B,
    }
);
derived!(
    enum Other {
        A,
        #[serde(other)]
        Rest,
    }
);
derived!(
    enum Skipping {
        A,
        #[serde(skip)]
        #[allow(dead_code)]
        B,
        C(u8),
        D {
            x: u8,
        },
    }
);
derived!(
    enum SkipWriting {
        A,
        #[serde(skip_serializing)]
        B,
        C,
    }
);
derived!(
    enum SkipReading {
        A,
        #[serde(skip_deserializing)]
        B,
        C,
    }
);
derived!(
    enum SkipInside {
        A {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            x: Option<u8>,
            y: Option<u8>,
        },
    }
);
derived!(
    enum UntaggedLast {
        A,
        B(u8),
        #[serde(untagged)]
        Text(String),
    }
);
derived!(
    enum Recursive {
        Leaf(i64),
        Add(Box<Recursive>, Box<Recursive>),
        Many(Vec<Recursive>),
    }
);
derived!(
    #[serde(tag = "type")]
    enum Message {
        Ping,
        Data { body: Box<Message> },
        Text(TextBody),
    }
);
derived!(
    struct TextBody {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lang: Option<String>,
    }
);
derived!(
    struct Envelope {
        id: u64,
        body: Internal,
        trail: Vec<External>,
    }
);
derived!(
    #[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
    enum Strict {
        On { level: u8 },
        Off,
    }
);
derived!(
    enum Deep {
        A(Middle),
        B,
    }
);
derived!(
    enum Middle {
        X(Units, Internal),
        Y(Option<Units>),
        Z,
    }
);
derived!(
    enum OfThree {
        X(Units),
        Y(Result<Units, String>),
        Z { u: Option<Units> },
    }
);

#[derive(serde_repr::Serialize_repr, serde_repr::Deserialize_repr, PartialEq, Debug, Clone)]
#[repr(u8)]
enum Repr {
    One = 1,
    Two = 200,
}

pub(crate) fn all(v: &mut impl Visit) {
    let content = || Content { x: -1, y: vec![1, 200], z: BTreeMap::from([("k".into(), 0.5)]) };
    v.visit("unit variants", Arrive, vec![Units::A, Units::B, Units::C]);
    v.visit(
        "externally tagged",
        Arrive,
        vec![
            External::Unit,
            External::Newtype(200),
            External::NewtypeOfUnit(()),
            External::Tuple(1, "a".into()),
            External::Struct { a: 1, b: None },
            External::Nested(Box::new(External::Nested(Box::new(External::Unit)))),
            External::Inner(Units::C),
            External::EmptyTuple(),
            External::EmptyStruct {},
        ],
    );
    let internal = vec![
        Internal::Unit,
        Internal::Struct { a: 1, b: Some(2), when: None },
        Internal::Struct { a: 1, b: None, when: Some(u64::MAX) },
        Internal::Newtype(content()),
        Internal::Address { ip: IpAddr::from([127, 0, 0, 1]) },
    ];
    v.visit("internally tagged", Arrive, internal.clone());
    v.visit("Vec of internally tagged", Arrive, vec![internal.clone()]);
    v.visit("Option of internally tagged", Arrive, vec![None, Some(Internal::Unit)]);
    let adjacent = [Adjacent::Unit, Adjacent::Newtype(1), Adjacent::Tuple(1, "a".into()), Adjacent::Struct { a: 1 }];
    v.visit("adjacently tagged", Arrive, adjacent.to_vec());
    v.visit(
        "untagged",
        Arrive,
        vec![
            Untagged::Number(5),
            Untagged::Text("5".into()),
            Untagged::Many(vec![Untagged::Number(1), Untagged::Nothing]),
            Untagged::Struct { a: 1, b: Some(1) },
            Untagged::Content(content()),
            Untagged::Nothing,
        ],
    );
    v.visit("untagged alike, first", Arrive, vec![Alike::Small(5), Alike::Large(500)]);
    v.visit("untagged alike, second", BeRefused, vec![Alike::Large(5)]);
    v.visit("untagged alike newtypes, first", Arrive, vec![AlikeNewtypes::First(OneA { a: 1 })]);
    v.visit("untagged alike newtypes, second", BeRefused, vec![AlikeNewtypes::Second(TwoA { a: 1 })]);
    v.visit("untagged alike structs, first", Arrive, vec![AlikeStructs::First { a: 1 }]);
    v.visit("untagged overlapping, more", BeRefused, vec![Overlapping::More { a: 1, b: 2 }]);
    v.visit(
        "rename_all of variants",
        Arrive,
        vec![RenameAllVariants::FirstOne, RenameAllVariants::SecondOne { some_field: 1 }],
    );
    v.visit(
        "rename(serialize, deserialize) of a variant",
        Arrive,
        vec![RenameVariantApart::A(1), RenameVariantApart::B],
    );
    v.visit("alias of a variant", Arrive, vec![WithAlias::A, WithAlias::B]);
    v.visit("other", Arrive, vec![Other::A, Other::Rest]);
    v.visit("skip a variant", Arrive, vec![Skipping::A, Skipping::C(1), Skipping::D { x: 1 }]);
    v.visit("skip_serializing a variant", Arrive, vec![SkipWriting::A, SkipWriting::C]);
    v.visit("skip_serializing a variant, this one", BeRefused, vec![SkipWriting::B]);
    v.visit("skip_deserializing a variant", Arrive, vec![SkipReading::A, SkipReading::C]);
    v.visit("skip_deserializing a variant, this one", BeRefused, vec![SkipReading::B]);
    v.visit(
        "skip_serializing_if in a variant",
        Arrive,
        vec![SkipInside::A { x: None, y: Some(1) }, SkipInside::A { x: Some(1), y: None }],
    );
    v.visit("untagged variant", Arrive, vec![UntaggedLast::A, UntaggedLast::B(1), UntaggedLast::Text("t".into())]);
    let leaf = |n| Box::new(Recursive::Leaf(n));
    v.visit(
        "recursive enum",
        Arrive,
        vec![Recursive::Add(
            leaf(1),
            Box::new(Recursive::Many(vec![Recursive::Leaf(2), Recursive::Add(leaf(3), leaf(4))])),
        )],
    );
    v.visit(
        "recursive internally tagged",
        Arrive,
        vec![Message::Data { body: Box::new(Message::Text(TextBody { text: "t".into(), lang: None })) }, Message::Ping],
    );
    let trail = vec![External::Unit, External::Struct { a: 1, b: Some(2) }];
    let envelopes = internal.into_iter().map(|body| Envelope { id: 1, body, trail: trail.clone() }).collect();
    v.visit("struct with both", Arrive, envelopes);
    v.visit("internally tagged, deny_unknown_fields", Arrive, vec![Strict::On { level: 1 }, Strict::Off]);
    v.visit(
        "enums in enums",
        Arrive,
        vec![
            Deep::A(Middle::X(Units::B, Internal::Unit)),
            Deep::A(Middle::Y(Some(Units::C))),
            Deep::A(Middle::Y(None)),
            Deep::A(Middle::Z),
            Deep::B,
        ],
    );
    v.visit(
        "one enum in three variants",
        Arrive,
        vec![
            OfThree::X(Units::A),
            OfThree::Y(Ok(Units::B)),
            OfThree::Y(Err("e".into())),
            OfThree::Z { u: Some(Units::C) },
        ],
    );
    v.visit("serde_repr", Arrive, vec![Repr::One, Repr::Two]);
}
