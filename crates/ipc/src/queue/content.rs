//! What comes out of the ring, and messages with handles in them.
//!
//! A message with handles is preceded by its ticket. Its descriptors are in the store.

use std::{os::fd::OwnedFd, sync::atomic::Ordering::Relaxed};

use kernel::handover::{self, Parcel};
use serde::de::DeserializeOwned;

use super::{
    blocks::Block,
    codec::{self, Buffer},
    custody::Custody,
    layout::HAS_HANDLES,
    patience::Patience,
    raw::Raw,
    ring::{Dequeue, Enqueue, Locate, Ring, Side, Stop},
    stop::PutStop,
    store::{Key, MAX_MESSAGE_FDS, Store, Ticket},
    word::{BlockId, BlockState, Kind},
};

const TICKET_BYTES: usize = size_of::<u64>();

/// A message in this process's memory, with what belongs to it.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    /// Where the message begins.
    start: usize,
    fds: Vec<OwnedFd>,
}

impl Content {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }

    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, handover::Error> {
        match self.start {
            0 => codec::decode(&self.bytes),
            start => handover::unpack(&self.bytes[start..], self.fds),
        }
    }
}

/// A message that has left the ring.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Number(u64),
    /// It is in the buffer that was handed in.
    InBuffer,
    Block(Block<'a>),
    Content(Content),
    /// It is in the ring still: it has handles, which are to be taken with it.
    WithHandles,
}

impl Message<'_> {
    /// The message's bytes; those of a short one are in `buffer`.
    pub(super) fn into_vec(self, buffer: &Buffer) -> Result<Vec<u8>, Stop> {
        match self {
            Self::Number(number) => Ok(codec::encode(&number)),
            Self::InBuffer => Ok(buffer.as_bytes().to_vec()),
            Self::Block(block) => block.into_vec(),
            Self::Content(content) => Ok(content.bytes().to_vec()),
            Self::WithHandles => Err(Stop::WouldBlock),
        }
    }
}

impl Raw {
    /// Puts a message with handles.
    pub(super) fn put_parcel(&self, parcel: &Parcel<'_>, type_name: &str, patience: Patience) -> Result<(), PutStop> {
        let fds = parcel.fds();
        let refuse = |why: String| PutStop::Encode(handover::Error::new(why));
        let Some(store) = &self.store else {
            let why = "cannot travel by a queue that was made for messages without handles; it can by one that was made \
                       for its type";
            return Err(refuse(format!("{type_name} {why}")));
        };
        if fds.len() > MAX_MESSAGE_FDS {
            return Err(refuse(format!("more than {MAX_MESSAGE_FDS} descriptors cannot travel in one message")));
        }
        if matches!(patience, Patience::Now) {
            self.patiently(Side::Space, patience, || self.has_room())?;
        }
        let len = TICKET_BYTES + parcel.bytes().len();
        let mut block = self.patiently(Side::Space, patience, || Block::take(self, len))?;
        let ticket = Ticket::new(block.id(), self.segment.header().n_tickets.fetch_add(2, Relaxed));
        block.write(&[&ticket.0.to_ne_bytes(), parcel.bytes()].concat()).map_err(Stop::from)?;
        self.segment.record(block.id()).len.store(len as u64 | HAS_HANDLES, Relaxed);
        self.patiently(Side::Space, patience, || store.put(ticket, &fds, |ticket| self.wants(ticket)))?;
        let put = self.put_block(&mut block, patience);
        drop(block);
        if put.is_err() {
            self.tidy(store);
        }
        Ok(put?)
    }

    /// Takes the next message together with its handles, if it has some.
    pub(super) fn take_whole(&self, buffer: &mut Buffer, patience: Patience) -> Result<Message<'_>, Stop> {
        let deadline = patience.deadline();
        loop {
            let patience = patience.left(deadline);
            let message = self.patiently(Side::Items, patience, || self.try_take(buffer, true))?;
            let (Message::WithHandles, Some(store)) = (&message, &self.store) else { return Ok(message) };
            let key = store.key(patience.left(deadline))?;
            if let Some(content) = self.try_take_with_handles(store, &key)? {
                drop(key);
                self.wake_one(Side::Space);
                return Ok(Message::Content(content));
            }
        }
    }

    /// Takes the next message if it has handles. It is taken once they are here; if that fails, it stays.
    fn try_take_with_handles(&self, store: &Store, key: &Key<'_>) -> Result<Option<Content>, Stop> {
        let spot = match self.next() {
            Err(Stop::WouldBlock) => return Ok(None),
            spot => spot?,
        };
        let Some((Some(Kind::Block), payload)) = self.whole(&spot) else { return Ok(None) };
        let id = BlockId::from_bits(payload);
        if !self.is_with_handles(id) {
            return Ok(None);
        }
        let content = match self.copy_with_handles(store, key, id) {
            // One failed look is no reason to throw the message away.
            Err(Stop::Damaged) => self.copy_with_handles(store, key, id),
            content => content,
        };
        if self.word(spot.slot) != Some(spot.word) {
            // Another getter has taken it as bytes, and the block may be another message's.
            return Ok(None);
        }
        let (content, is_first) = match content {
            // The next getter would find it damaged, too.
            Err(Stop::Damaged) => {
                drop(Block::take_from_ring(self, &spot, payload)?);
                return Err(Stop::Damaged);
            }
            content => content?,
        };
        let Some(mut block) = Block::take_from_ring(self, &spot, payload)? else { return Ok(None) };
        block.free();
        store.remove_taken(key, is_first, |ticket| self.wants(ticket));
        Ok(Some(content))
    }

    /// What lies in a block, with its descriptors; whether their packet is the first. The block may be another's by now.
    fn copy_with_handles(&self, store: &Store, key: &Key<'_>, id: BlockId) -> Result<(Content, bool), Stop> {
        let len = self.plausible_len_of(id).ok_or(Stop::Damaged)?;
        let bytes = self.copy_of(id, len)?;
        let ticket = bytes.first_chunk().ok_or(Stop::Damaged)?;
        let (fds, is_first) = store.find(key, Ticket(u64::from_ne_bytes(*ticket)))?;
        Ok((Content { bytes, start: TICKET_BYTES, fds }, is_first))
    }

    /// The key of the store, if there is one, for what leases have: before anything is leased.
    pub(super) fn store_key(&self, patience: Patience) -> Result<Option<Key<'_>>, Stop> {
        self.store.as_ref().map(|store| store.key(patience)).transpose()
    }

    /// What lies in a block that stays as it is.
    pub(super) fn content(&self, id: BlockId, len: usize, key: Option<&Key<'_>>) -> Result<Content, Stop> {
        if !self.has_handles(id) {
            return Ok(Content { bytes: self.copy_of(id, len)?, start: 0, fds: Vec::new() });
        }
        let (Some(store), Some(key)) = (&self.store, key) else { return Err(Stop::Damaged) };
        self.copy_with_handles(store, key, id).map(|(content, _)| content)
    }

    /// Frees a block whose message is done with.
    pub(super) fn free_done(&self, id: BlockId) {
        let has_handles = self.has_handles(id);
        self.free_block(id);
        if has_handles && let Some(store) = &self.store {
            self.tidy(store);
            self.wake_one(Side::Space);
        }
    }

    /// Removes what the dead have left in the store.
    pub(super) fn clear_store(&self) {
        if let Some(store) = &self.store {
            store.clear(|ticket| self.wants(ticket));
        }
    }

    /// Whether there is a store, and no room in it for the handles of another message.
    pub(super) fn is_store_full(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_full(|ticket| self.wants(ticket)).unwrap_or(false))
    }

    fn tidy(&self, store: &Store) {
        store.tidy(|ticket| self.wants(ticket));
    }

    /// Whether a block that the ring names has a message with handles, of which there are none without a store.
    pub(super) fn is_with_handles(&self, id: BlockId) -> bool {
        self.store.is_some() && self.has(id) && self.has_handles(id)
    }

    pub(super) fn has_handles(&self, id: BlockId) -> bool {
        self.segment.record(id).len.load(Relaxed) & HAS_HANDLES != 0
    }

    /// Whether the message of that ticket is not done with.
    fn wants(&self, ticket: Ticket) -> bool {
        let id = ticket.block();
        if !ticket.is_valid() || !self.has(id) || self.record(id).0 == BlockState::Free.to_word() {
            return false;
        }
        let mut there = [0; TICKET_BYTES];
        // Read by way of the file: there may be no memory any more, and then it is zeros.
        self.segment.read_block(id, &mut there).is_err() || there == ticket.0.to_ne_bytes()
    }
}
