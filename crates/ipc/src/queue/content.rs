//! Messages with handles in them, and what comes out of a block with either kind of message.
//!
//! A message with handles is preceded by its ticket. Its descriptors are in the store.

use std::{os::fd::OwnedFd, sync::atomic::Ordering::Relaxed};

use kernel::handover::{self, Parcel};
use serde::de::DeserializeOwned;

use super::{
    blocks::Block,
    codec,
    custody::Custody,
    events::Patience,
    layout::HAS_HANDLES,
    raw::Raw,
    ring::{Ring, Side, Stop},
    stop::{GetStop, PutStop},
    store::{MAX_MESSAGE_FDS, Store, Ticket},
    word::{BlockId, BlockState},
};

const TICKET_BYTES: usize = size_of::<u64>();

/// A message in this process's memory, with what belongs to it.
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

    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, handover::Error> {
        match self.start {
            0 => codec::decode(&self.bytes),
            start => handover::unpack(&self.bytes[start..], self.fds),
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

    /// The value that lies in a block which this process has taken.
    pub(super) fn open<T: DeserializeOwned>(&self, mut block: Block<'_>) -> Result<T, GetStop> {
        if !self.has_handles(block.id()) {
            return block.read(codec::decode)?.map_err(GetStop::Decode);
        }
        let bytes = self.copy_of(block.id(), block.len())?;
        let (store, ticket) = self.read_ticket(&bytes)?;
        let fds = match store.take(ticket, || block.free(), |ticket| self.wants(ticket)) {
            Ok(fds) => fds,
            Err(stop) => {
                // Without room for descriptors here the message is for somebody else, or for later.
                if matches!(stop, Stop::System(_)) {
                    let _ = self.put_block(&mut block, Patience::Now);
                }
                return Err(stop.into());
            }
        };
        self.wake_one(Side::Space);
        Content { bytes, start: TICKET_BYTES, fds }.decode().map_err(GetStop::Decode)
    }

    /// What lies in a block that stays as it is.
    pub(super) fn content(&self, id: BlockId, len: usize) -> Result<Content, Stop> {
        let bytes = self.copy_of(id, len)?;
        if !self.has_handles(id) {
            return Ok(Content { bytes, start: 0, fds: Vec::new() });
        }
        let (store, ticket) = self.read_ticket(&bytes)?;
        let fds = store.copy(ticket)?;
        Ok(Content { bytes, start: TICKET_BYTES, fds })
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

    fn tidy(&self, store: &Store) {
        store.tidy(|ticket| self.wants(ticket));
    }

    fn has_handles(&self, id: BlockId) -> bool {
        self.segment.record(id).len.load(Relaxed) & HAS_HANDLES != 0
    }

    /// Whether the message of that ticket is not done with.
    fn wants(&self, ticket: Ticket) -> bool {
        let id = ticket.block();
        if !ticket.is_valid() || !self.segment.geometry.has(id) || self.record(id).0 == BlockState::Free.to_word() {
            return false;
        }
        let mut there = [0; TICKET_BYTES];
        // Read by way of the file: there may be no memory any more, and then it is zeros.
        self.segment.read_block(id, &mut there).is_err() || there == ticket.0.to_ne_bytes()
    }

    fn read_ticket(&self, bytes: &[u8]) -> Result<(&Store, Ticket), Stop> {
        match (&self.store, bytes.first_chunk()) {
            (Some(store), Some(ticket)) => Ok((store, Ticket(u64::from_ne_bytes(*ticket)))),
            _ => Err(Stop::Damaged),
        }
    }
}
