//! What an owner tells its helper, and the helper its owner.

/// What a helper is told: to make a spare; and, each with a descriptor, to make this directory its root, to take over the
/// rights that stand in this file.
pub(super) const SPARE: u8 = 0;
pub(super) const ROOT: u8 = 1;
pub(super) const RIGHTS: u8 = 2;
/// To load; the next message says what. It answers when it has.
pub(super) const LOAD: u8 = 3;

pub(super) const NEWS_BYTES: usize = 8;

pub(super) fn parse_news(news: [u8; NEWS_BYTES]) -> (i32, u32) {
    let [errno @ .., _, _, _, _] = news;
    let [_, _, _, _, pid @ ..] = news;
    (i32::from_ne_bytes(errno), u32::from_ne_bytes(pid))
}
