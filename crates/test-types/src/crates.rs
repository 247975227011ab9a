//! Types of popular crates.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{Must::Arrive, Visit};

bitflags::bitflags! {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(transparent)]
    struct Flags: u32 {
        const A = 1;
        const B = 2;
    }
}

#[derive(Serialize, Deserialize, Debug, Clone)]
struct Raw {
    id: u8,
    body: Box<serde_json::value::RawValue>,
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.body.get() == other.body.get()
    }
}

#[serde_with::serde_as]
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct ServeAs {
    #[serde_as(as = "serde_with::DisplayFromStr")]
    port: u16,
    #[serde_as(as = "serde_with::hex::Hex")]
    key: Vec<u8>,
    #[serde_as(as = "Vec<(_, _)>")]
    pairs: HashMap<u32, String>,
    #[serde_as(as = "serde_with::DurationSecondsWithFrac<f64>")]
    pause: std::time::Duration,
}

#[serde_with::skip_serializing_none]
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct SkipUnset {
    a: Option<u8>,
    b: Option<String>,
    #[serde(default, with = "::serde_with::rust::double_option")]
    c: Option<Option<u8>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Record {
    id: uuid::Uuid,
    at: chrono::DateTime<chrono::Utc>,
    home: url::Url,
    #[serde(with = "chrono::serde::ts_seconds")]
    seconds: chrono::DateTime<chrono::Utc>,
    #[serde(with = "time::serde::rfc3339")]
    text: time::OffsetDateTime,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "type")]
enum Event {
    Seen { id: uuid::Uuid, at: chrono::DateTime<chrono::Utc>, on: time::Date },
    Sent { body: bytes::Bytes, to: Option<url::Url> },
}

pub(crate) fn all(v: &mut impl Visit) {
    json(v);
    times(v);
    identifiers(v);
    collections(v);
    records(v);
}

pub(crate) fn telling(v: &mut impl Visit) {
    json(v);
    records(v);
}

fn json(v: &mut impl Visit) {
    use serde_json::{Map, Number, Value, json};
    v.visit(
        "serde_json::Value",
        Arrive,
        vec![
            Value::Null,
            json!(true),
            json!(u64::MAX),
            json!(-5),
            json!(0.5),
            json!("a"),
            json!([1, [2], null]),
            json!({"a": {"b": [1, 2.5, "x", null]}, "c": false}),
        ],
    );
    v.visit("Option<serde_json::Value>", Arrive, vec![None, Some(json!(1))]);
    v.visit("Vec<serde_json::Value>", Arrive, vec![vec![], vec![json!(1), json!({})]]);
    v.visit("serde_json::Map", Arrive, vec![Map::from_iter([("a".to_owned(), json!(1))])]);
    v.visit("serde_json::Number", Arrive, vec![Number::from(5), Number::from(-5)]);
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.into()).map(|body| Raw { id: 1, body }).ok();
    v.visit("RawValue", Arrive, raw(r#"{"a": [1, 2]}"#).into_iter().collect());
}

fn times(v: &mut impl Visit) {
    use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
    let at = DateTime::<Utc>::from_timestamp(1_700_000_000, 123_456_789).unwrap_or_default();
    v.visit("chrono::DateTime<Utc>", Arrive, vec![at]);
    let east = FixedOffset::east_opt(7200).map(|zone| zone.from_utc_datetime(&at.naive_utc()));
    v.visit("chrono::DateTime<FixedOffset>", Arrive, east.into_iter().collect());
    v.visit("chrono::NaiveDateTime", Arrive, vec![at.naive_utc()]);
    v.visit("chrono::NaiveDate", Arrive, vec![NaiveDate::MIN, at.date_naive()]);
    v.visit("chrono::NaiveTime", Arrive, vec![NaiveTime::MIN, at.time()]);
    v.visit("chrono::Duration", Arrive, vec![Duration::milliseconds(-1500)]);
    v.visit("chrono::Weekday", Arrive, vec![Weekday::Mon, Weekday::Sun]);
    let moment = time::OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(1_700_000_000_123_456_789);
    v.visit("time::OffsetDateTime", Arrive, vec![moment]);
    v.visit("time::PrimitiveDateTime", Arrive, vec![time::PrimitiveDateTime::MIN]);
    v.visit("time::Date", Arrive, vec![moment.date()]);
    v.visit("time::Time", Arrive, vec![moment.time()]);
    v.visit("time::Duration", Arrive, vec![time::Duration::MIN, time::Duration::MAX]);
    v.visit("time::UtcOffset", Arrive, vec![time::UtcOffset::UTC]);
    v.visit("time::Weekday", Arrive, vec![time::Weekday::Monday]);
    v.visit("time::Month", Arrive, vec![time::Month::May]);
}

fn identifiers(v: &mut impl Visit) {
    v.visit("Uuid", Arrive, vec![uuid::Uuid::nil(), uuid::Uuid::from_u128(u128::MAX / 3)]);
    let urls = ["https://example.org/a?b=c#d", "http://[::1]:8080/"];
    let urls: Vec<_> = urls.iter().filter_map(|text| url::Url::parse(text).ok()).collect();
    v.visit("Url", Arrive, urls.clone());
    v.visit("(Url, u8, String)", Arrive, urls.iter().map(|url| (url.clone(), 1_u8, "a".to_owned())).collect());
    v.visit("HashMap<Url, _>", Arrive, vec![urls.into_iter().zip(0_u8..).collect::<HashMap<_, _>>()]);
    v.visit("semver::Version", Arrive, vec![semver::Version::new(1, 2, 3)]);
    v.visit("semver::VersionReq", Arrive, vec![semver::VersionReq::STAR]);
    v.visit("bitflags", Arrive, vec![Flags::A, Flags::A | Flags::B, Flags::empty()]);
}

fn collections(v: &mut impl Visit) {
    use indexmap::{IndexMap, IndexSet};
    use smallvec::SmallVec;
    v.visit("bytes::Bytes", Arrive, vec![bytes::Bytes::new(), bytes::Bytes::from(vec![200; 5000])]);
    v.visit("bytes::BytesMut", Arrive, vec![bytes::BytesMut::from(&[1, 2][..])]);
    v.visit("SmallVec", Arrive, vec![SmallVec::<[u8; 4]>::from_slice(&[1, 200]), SmallVec::from_elem(7, 300)]);
    v.visit("ArrayVec", Arrive, vec![arrayvec::ArrayVec::<u16, 4>::from_iter([1, 2])]);
    v.visit("ArrayString", Arrive, arrayvec::ArrayString::<8>::from("abc").into_iter().collect());
    v.visit("IndexMap", Arrive, vec![IndexMap::<String, u8>::from_iter([("b".into(), 1), ("a".into(), 2)])]);
    v.visit("IndexSet", Arrive, vec![IndexSet::<u8>::from_iter([3, 1, 2])]);
    v.visit("Either", Arrive, vec![either::Either::<u8, String>::Left(1), either::Either::Right("r".into())]);
    v.visit("OrderedFloat", Arrive, vec![ordered_float::OrderedFloat(0.5_f64)]);
    v.visit("ndarray::Array1", Arrive, vec![ndarray::arr1(&[1.0, 2.0])]);
    v.visit("ndarray::Array2", Arrive, vec![ndarray::arr2(&[[1_i32, 2], [3, 4]])]);
    v.visit("ndarray::ArrayD", Arrive, vec![ndarray::arr2(&[[1_u8, 2], [3, 4]]).into_dyn()]);
}

fn records(v: &mut impl Visit) {
    v.visit(
        "serde_with",
        Arrive,
        vec![ServeAs {
            port: 80,
            key: vec![1, 255],
            pairs: HashMap::from([(1, "a".into())]),
            pause: std::time::Duration::from_millis(1500),
        }],
    );
    v.visit(
        "serde_with, skip_serializing_none",
        Arrive,
        vec![
            SkipUnset { a: None, b: None, c: None },
            SkipUnset { a: None, b: Some("b".into()), c: Some(None) },
            SkipUnset { a: Some(1), b: None, c: Some(Some(1)) },
        ],
    );
    let at = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
    let urls: Vec<_> = url::Url::parse("file:///a").into_iter().collect();
    let records = urls.iter().map(|home| Record {
        id: uuid::Uuid::from_u128(7),
        at,
        home: home.clone(),
        seconds: at,
        text: time::OffsetDateTime::UNIX_EPOCH,
    });
    v.visit("struct of crates' types", Arrive, records.collect());
    v.visit(
        "internally tagged with crates' types",
        Arrive,
        vec![
            Event::Seen { id: uuid::Uuid::from_u128(7), at, on: time::Date::MIN },
            Event::Sent { body: bytes::Bytes::from_static(b"\x00\xff"), to: urls.first().cloned() },
        ],
    );
}
