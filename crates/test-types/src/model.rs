//! The types of serde's data model, and of the standard library.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    ffi::{CString, OsString},
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    num::{NonZeroI64, NonZeroU8, NonZeroU32, Wrapping},
    ops::{Bound, Range, RangeFrom, RangeInclusive},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{Must::Arrive, Visit};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Unit;
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Newtype(u32);
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Pair(u8, String);
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Empty {}
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Plain {
    id: u64,
    name: String,
    tags: Vec<String>,
    ratio: f64,
}
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Generic<T, U> {
    a: T,
    b: Option<U>,
}
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Chain(Option<Box<Chain>>);
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Node {
    value: i32,
    children: Vec<Node>,
}
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Ghost<T> {
    id: u8,
    of: PhantomData<T>,
}
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Blob {
    before: u8,
    data: Vec<u8>,
    samples: Vec<f32>,
    after: bool,
}

fn plain(id: u64) -> Plain {
    Plain { id, name: format!("n{id}"), tags: vec![String::new(), "x".into()], ratio: id as f64 / 3.0 }
}

pub(crate) fn all(v: &mut impl Visit) {
    numbers(v);
    texts(v);
    containers(v);
    structs(v);
    std_types(v);
}

pub(crate) fn telling(v: &mut impl Visit) {
    v.visit("u64", Arrive, vec![0_u64, u64::MAX]);
    v.visit("Vec<u8>", Arrive, vec![vec![], vec![7_u8; 100_000]]);
    v.visit("Option<Option<u8>>", Arrive, vec![Some(Some(1_u8)), Some(None), None]);
    structs(v);
}

fn numbers(v: &mut impl Visit) {
    v.visit("()", Arrive, vec![()]);
    v.visit("bool", Arrive, vec![true, false]);
    v.visit("u8", Arrive, vec![0_u8, 127, 128, 255]);
    v.visit("u16", Arrive, vec![0_u16, u16::MAX]);
    v.visit("u32", Arrive, vec![0_u32, u32::MAX]);
    v.visit("u64", Arrive, vec![0_u64, u64::MAX]);
    v.visit("u128", Arrive, vec![0_u128, u128::MAX]);
    v.visit("usize", Arrive, vec![0_usize, usize::MAX]);
    v.visit("i8", Arrive, vec![0_i8, i8::MIN]);
    v.visit("i16", Arrive, vec![0_i16, i16::MIN]);
    v.visit("i32", Arrive, vec![0_i32, i32::MIN]);
    v.visit("i64", Arrive, vec![0_i64, i64::MIN]);
    v.visit("i128", Arrive, vec![0_i128, i128::MIN]);
    v.visit("isize", Arrive, vec![0_isize, isize::MIN]);
    v.visit("f32", Arrive, vec![0.5_f32, f32::INFINITY, f32::MIN_POSITIVE]);
    v.visit("f64", Arrive, vec![-0.5_f64, f64::NEG_INFINITY, f64::EPSILON]);
    v.visit("char", Arrive, vec!['a', 'ß', '\u{10FFFF}']);
    v.visit("NonZeroU8", Arrive, vec![NonZeroU8::MAX]);
    v.visit("NonZeroI64", Arrive, vec![NonZeroI64::MIN]);
    v.visit("(NonZeroU32, String)", Arrive, vec![(NonZeroU32::MIN, "a".to_owned())]);
    v.visit("Wrapping", Arrive, vec![Wrapping(7_u16)]);
}

fn texts(v: &mut impl Visit) {
    v.visit("String", Arrive, vec![String::new(), "grüße".into(), "x".repeat(70_000)]);
    v.visit("Box<str>", Arrive, vec![Box::<str>::from("a")]);
    v.visit("Arc<str>", Arrive, vec![Arc::<str>::from("a")]);
    v.visit("Cow<str>", Arrive, vec![Cow::Borrowed("a"), Cow::Owned("b".to_owned())]);
    v.visit("PathBuf", Arrive, vec![PathBuf::from("/a/b")]);
    v.visit("OsString", Arrive, vec![OsString::from("a")]);
    v.visit("CString", Arrive, vec![CString::new("abc").unwrap_or_default()]);
}

fn containers(v: &mut impl Visit) {
    v.visit("Vec<u8>", Arrive, vec![vec![], vec![0_u8, 200], vec![7; 100_000]]);
    v.visit("Vec<i16>", Arrive, vec![vec![i16::MIN, 0, 5]]);
    v.visit("Vec<u64>", Arrive, vec![vec![], vec![u64::MAX; 300]]);
    v.visit("Vec<usize>", Arrive, vec![vec![1_usize, 2]]);
    v.visit("Vec<f64>", Arrive, vec![vec![0.5; 300]]);
    v.visit("Vec<i128>", Arrive, vec![vec![i128::MIN, 1]]);
    v.visit("Vec<bool>", Arrive, vec![vec![true, false]]);
    v.visit("Vec<char>", Arrive, vec![vec!['a'; 300]]);
    v.visit("Vec<()>", Arrive, vec![vec![(); 1000]]);
    v.visit("Vec<String>", Arrive, vec![vec![], vec![String::new(), "a".into()]]);
    v.visit("Vec<Vec<u8>>", Arrive, vec![vec![vec![1_u8], vec![], vec![2, 3]]]);
    v.visit("Vec<Option<u64>>", Arrive, vec![vec![Some(1_u64), None]]);
    v.visit("Box<[u32]>", Arrive, vec![vec![1_u32, 2].into_boxed_slice()]);
    v.visit("Rc-free Arc<Vec<u8>>", Arrive, vec![Arc::new(vec![1_u8, 2])]);
    v.visit("Arc<[u16]>", Arrive, vec![Arc::<[u16]>::from(vec![1, 2])]);
    v.visit("Cow<[u8]>", Arrive, vec![Cow::<[u8]>::Owned(vec![1, 200])]);
    v.visit("VecDeque", Arrive, vec![VecDeque::from([1_u8, 2, 200])]);
    v.visit("LinkedList", Arrive, vec![LinkedList::from(["a".to_owned()])]);
    v.visit("BinaryHeap as sorted", Arrive, vec![BinaryHeap::from([3, 1, 2]).into_sorted_vec()]);
    v.visit("HashMap", Arrive, vec![(0..300).map(|n| (n, n * n)).collect::<HashMap<u32, u32>>()]);
    v.visit(
        "HashMap<String, Plain>",
        Arrive,
        vec![(0..30).map(|n| (n.to_string(), plain(n))).collect::<HashMap<_, _>>()],
    );
    v.visit("HashSet", Arrive, vec![(0..300).collect::<HashSet<u32>>()]);
    v.visit("BTreeMap of tuples", Arrive, vec![BTreeMap::from([((1_u8, 'a'), 1.5_f32)])]);
    v.visit("BTreeSet", Arrive, vec![BTreeSet::from(["a".to_owned(), String::new()])]);
    v.visit("[u8; 32]", Arrive, vec![[200_u8; 32]]);
    v.visit("[f64; 3]", Arrive, vec![[1.0_f64, 2.0, 3.0]]);
    v.visit("[[u8; 2]; 2]", Arrive, vec![[[1_u8, 2], [3, 4]]]);
    v.visit("[String; 0]", Arrive, vec![[(); 0]]);
    v.visit("(u8,)", Arrive, vec![(1_u8,)]);
    v.visit("tuple of 8", Arrive, vec![(1_u8, 2_u16, 3_u32, 4_u64, 'e', 6.0_f32, "g".to_owned(), vec![8_u8])]);
    v.visit("Option<u8>", Arrive, vec![Some(0_u8), None]);
    v.visit("Option<()>", Arrive, vec![Some(()), None]);
    v.visit("Option<Option<u8>>", Arrive, vec![Some(Some(1_u8)), Some(None), None]);
    v.visit("Box<u8>", Arrive, vec![Box::new(1_u8)]);
    v.visit("Result", Arrive, vec![Ok::<u8, String>(1), Err("no".into())]);
    v.visit("Cell", Arrive, vec![Cell::new(1_u8)]);
    v.visit("RefCell", Arrive, vec![RefCell::new(vec![1_u8])]);
}

fn structs(v: &mut impl Visit) {
    v.visit("unit struct", Arrive, vec![Unit]);
    v.visit("newtype struct", Arrive, vec![Newtype(7)]);
    v.visit("tuple struct", Arrive, vec![Pair(1, "a".into())]);
    v.visit("empty struct", Arrive, vec![Empty {}]);
    v.visit("struct", Arrive, vec![plain(0), plain(7)]);
    v.visit("Vec of structs", Arrive, vec![vec![], (0..300).map(plain).collect::<Vec<_>>()]);
    v.visit("generic struct", Arrive, vec![Generic { a: plain(1), b: Some(Unit) }, Generic { a: plain(2), b: None }]);
    v.visit(
        "struct twice generic",
        Arrive,
        vec![(Generic { a: 1_u8, b: Some('x') }, Generic { a: 'y', b: Some(2_u8) })],
    );
    v.visit("chain", Arrive, vec![Chain(None), Chain(Some(Box::new(Chain(Some(Box::new(Chain(None)))))))]);
    let leaf = |value| Node { value, children: vec![] };
    v.visit("tree", Arrive, vec![leaf(1), Node { value: 2, children: vec![leaf(3), leaf(4)] }]);
    v.visit("PhantomData", Arrive, vec![Ghost::<String> { id: 1, of: PhantomData }]);
    v.visit("blob", Arrive, vec![Blob { before: 1, data: vec![200; 5000], samples: vec![0.5; 100], after: true }]);
    v.visit(
        "struct of containers",
        Arrive,
        vec![Generic { a: BTreeMap::from([(1, vec![plain(1)])]), b: Some([Some(Unit), None]) }],
    );
    drop(Rc::new(()));
}

fn std_types(v: &mut impl Visit) {
    v.visit("Duration", Arrive, vec![Duration::MAX, Duration::from_nanos(7)]);
    v.visit(
        "SystemTime",
        Arrive,
        vec![SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_nanos(123_456_789)],
    );
    v.visit("Range", Arrive, vec![Range { start: 1, end: 5_u64 }]);
    v.visit("RangeInclusive", Arrive, vec![RangeInclusive::new('a', 'z')]);
    v.visit("RangeFrom", Arrive, vec![RangeFrom { start: 1_u8 }]);
    v.visit("Bound", Arrive, vec![Bound::Included(1_u8), Bound::Excluded(2), Bound::Unbounded]);
    v.visit("Ipv4Addr", Arrive, vec![Ipv4Addr::LOCALHOST]);
    v.visit("Ipv6Addr", Arrive, vec![Ipv6Addr::LOCALHOST]);
    v.visit("IpAddr", Arrive, vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    v.visit("SocketAddr", Arrive, vec![SocketAddr::from(([127, 0, 0, 1], 80))]);
    v.visit("SocketAddrV6", Arrive, vec![SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0)]);
}
