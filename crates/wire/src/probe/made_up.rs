//! Values that types are tried with, in the order in which they are.

/// Not zero first: many types refuse it.
pub(super) const NUMBERS: &[u8] = &[1, 0, 2, 3, 4, 10, 16, 100];

/// What the text of a number, an address, a time, … may look like.
pub(super) const STRINGS: &[&str] = &[
    "",
    "1",
    "a",
    "http://localhost/",
    "127.0.0.1",
    "127.0.0.1:1",
    "::1",
    "[::1]:1",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "1970-01-01",
    "00:00:00",
    "1970-01-01 00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "1.0.0",
    "UTC",
    "Mon",
    "Jan",
    "127.0.0.0/8",
    "0x0",
    "00",
    "a@b.c",
    "/",
    "true",
    "en",
    "1s",
];

/// Of the lengths that keys and addresses have.
pub(super) const BYTES: &[&[u8]] = &[&[], &[0; 16], &[0; 4], &[0; 8], &[0; 32], &[0; 20], &[0; 64], b"a"];

/// Of sequences and maps.
pub(super) const LENGTHS: &[usize] = &[1, 0, 2, 3, 4];
