//! Values to bytes and back, for processes that run the same program: any type that serde can write and read.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wire::{TypeInfo, decode, encode};
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! #[serde(tag = "type")]
//! enum Command { Move { x: u8 }, Stop }
//!
//! let mut bytes = Vec::new();
//! encode(TypeInfo::of::<Command>(), &Command::Move { x: 1 }, &mut bytes)?;
//! assert_eq!(decode::<Command>(&bytes)?, Command::Move { x: 1 });
//! # Ok::<(), wire::Error>(())
//! ```
//!
//! # Two forms
//! Each value says by a byte what it is. In the **compact** form fields and variants go by position. In the **named**
//! form they have their names, for types that look at what is there (`untagged`, `flatten`, `serde_json::Value`), and
//! for values with fields that are left out. The first byte of a message says in which form it is, so that no reader
//! guesses. Which form to write in is found by running the type's `Deserialize` on made-up values, once a process and
//! type, and by what its `Serialize` does. The details are in `README.md` beside this crate.
//!
//! # What is promised
//! What is written can be read, and is the same value as far as the type's own `Serialize` tells; or it is not written,
//! and the error says why. Outside the promise are:
//!
//! * a value with handles whose type does not look at what is there, and of which no field is left out: it is not read
//!   back before it is sent; and one of more than a mebibyte in the compact form, beside vectors of numbers of up to 16 in
//!   all;
//! * the order of a sequence's elements, which is not compared, and a value that is written otherwise each time;
//! * a value in the compact form that has come back before with the same structs and variants, with these fields in this
//!   order, and with something in the same options and collections: it is not read back. What a `Serialize` written by hand
//!   puts in one place, now of this kind and now of that, and cannot be read, is an error for whoever reads it. What a
//!   type's own `from`, `try_from` or `with` makes of some of its values is not noticed then either: a name read in lower
//!   case arrives in lower case, and a number that `try_from` rejects is an error for whoever reads it;
//! * what JSON does not tell apart: a tuple and a sequence of the same elements, or two structs of the same fields, as variants
//!   of an `untagged` enum.
//!
//! What is read back is a value of the type, made and dropped where it is written: a `Drop` that removes a file removes it.
//! `Serialize` and `Deserialize` may be called more than once for one value, and must have no effects: what one takes out of a
//! cell is not there the next time. They are called by whoever writes, and must wait for no lock that the caller holds.
//!
//! # What this is not
//! A format for files, or for other machines: numbers have this machine's byte order, and both sides are one build.
#![deny(unsafe_code)]

mod codec;
mod de;
mod digest;
mod error;
mod flat;
mod id_hash;
mod info;
mod journal;
mod known;
mod name_hash;
mod named;
mod numbers;
mod once;
mod populate;
mod probe;
mod row;
mod ser;
mod shape;
mod sink;
mod sites;
mod sparse;
pub mod stack;
mod tag;
mod text;

pub use self::{
    codec::{encode, encode_compact},
    error::{Error, ErrorKind, Stop},
    flat::Flat,
    info::TypeInfo,
    journal::{Journal, is_comparing, with_journal},
    named::{decode, encode_named, take},
    numbers::{extend_plain, is_number, is_plain, plain_bytes, take_plain},
    row::{OneByOne, encode_all, take_all},
    sink::{Counter, Full, Sink},
};

/// How values of a type are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Fields and variants by position.
    Compact,
    /// Fields and variants by name.
    Named,
}

/// The name of the newtype struct that a handle of this library is written as.
pub const HANDLE: &str = "$handle";

/// The name of the newtype struct of what may hold handles, and has been compared in its parts: it is not read where it is
/// written.
pub const COMPARED: &str = "$compared";
