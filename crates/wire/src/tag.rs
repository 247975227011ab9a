//! The first byte of each value.
//!
//! Numbers have their full width, in the byte order of the machine: both sides run on the same one. Lengths below 255
//! take one byte, others that byte and eight more.

/// The end of what was opened by `*_OPEN` or [`RECORD`].
pub(crate) const END: u8 = 0;
pub(crate) const NONE: u8 = 1;
/// The value follows.
pub(crate) const SOME: u8 = 2;
pub(crate) const UNIT: u8 = 3;
pub(crate) const FALSE: u8 = 4;
pub(crate) const TRUE: u8 = 5;
pub(crate) const U8: u8 = 6;
pub(crate) const U16: u8 = 7;
pub(crate) const U32: u8 = 8;
pub(crate) const U64: u8 = 9;
pub(crate) const U128: u8 = 10;
pub(crate) const I8: u8 = 11;
pub(crate) const I16: u8 = 12;
pub(crate) const I32: u8 = 13;
pub(crate) const I64: u8 = 14;
pub(crate) const I128: u8 = 15;
pub(crate) const F32: u8 = 16;
pub(crate) const F64: u8 = 17;
/// A `char` as a `u32`.
pub(crate) const CHAR: u8 = 18;
/// A length, and so many bytes of UTF-8.
pub(crate) const STR: u8 = 19;
/// A length, and so many bytes.
pub(crate) const BYTES: u8 = 20;
/// The tag of a number, a length, and so many numbers without tags.
pub(crate) const ARRAY: u8 = 21;
/// A length, and so many values.
pub(crate) const SEQ: u8 = 22;
/// Values up to [`END`].
pub(crate) const SEQ_OPEN: u8 = 23;
/// A length, and so many pairs of values.
pub(crate) const MAP: u8 = 24;
/// Pairs of values up to [`END`].
pub(crate) const MAP_OPEN: u8 = 25;
/// A length, and the fields of a struct in their order. Compact form.
pub(crate) const STRUCT: u8 = 26;
/// A struct's name, and pairs of a name and a value up to [`END`]. Named form.
pub(crate) const RECORD: u8 = 27;
/// The index of a variant without content. Compact form.
pub(crate) const UNIT_VARIANT: u8 = 28;
/// The index of a variant, and its content. Compact form.
pub(crate) const VARIANT: u8 = 29;
/// The name of a variant, and its content. Named form; one without content is a [`STR`].
pub(crate) const NAMED_VARIANT: u8 = 30;
/// Before a message in the named form.
pub(crate) const NAMED: u8 = 31;

/// From here on a byte is a `u8` below 128: this much more than it.
pub(crate) const SMALL: u8 = 0x80;

/// Lengths from here on take nine bytes.
pub(crate) const LONG: u8 = 255;

/// What a tag stands for, in an error.
pub(crate) fn describe(tag: u8) -> &'static str {
    match tag {
        END => "an end",
        NONE => "none",
        SOME => "an option",
        UNIT => "a unit",
        FALSE | TRUE => "a boolean",
        U8 | SMALL.. => "a u8",
        U16 => "a u16",
        U32 => "a u32",
        U64 => "a u64",
        U128 => "a u128",
        I8 => "an i8",
        I16 => "an i16",
        I32 => "an i32",
        I64 => "an i64",
        I128 => "an i128",
        F32 => "an f32",
        F64 => "an f64",
        CHAR => "a character",
        STR => "a string",
        BYTES => "bytes",
        ARRAY => "an array of numbers",
        SEQ | SEQ_OPEN => "a sequence",
        MAP | MAP_OPEN => "a map",
        STRUCT | RECORD => "a struct",
        UNIT_VARIANT | VARIANT | NAMED_VARIANT => "an enum's variant",
        _ => "a byte that begins no value",
    }
}
