//! Reads a pipe from outside: what lies in it, and which process sleeps at which end.

use std::mem::offset_of;

use kernel::{
    liveness::Participant,
    shm::inspect::{Copied, Source, Unreadable},
};

use super::{
    layout::{
        ABI, DATA_OFFSET, MAGIC, PipeHeader, RING_BYTES, ReaderWords, RingHeader, ToReader, ToWriter, WriterWords,
    },
    turn::TurnWords,
};

/// One direction of a pipe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingView {
    /// Bytes between its ends, frames' words among them.
    pub n_bytes: u64,
    /// How many bytes have been put in, ever.
    pub tail: u64,
    /// How many have been taken.
    pub head: u64,
    /// The pid of the process that sleeps until there is something to receive.
    pub sleeping_reader: Option<u32>,
    /// A sender sleeps until there is room.
    pub has_sleeping_writer: bool,
    /// The pid of the process that used the receiving end last.
    pub reader: Option<u32>,
    /// The pid of the process that used the sending end last.
    pub writer: Option<u32>,
}

/// What a block of memory says, if it is a pipe: one ring, or one for each direction.
///
/// # Errors
/// If it is none.
pub fn pipe(source: &(impl Source + ?Sized)) -> Result<Vec<RingView>, Unreadable> {
    let len = source.len_bytes()?;
    if len < DATA_OFFSET as u64 {
        return Err(Unreadable::Other);
    }
    let header = Copied::of(source, 0, size_of::<PipeHeader>())?;
    let abi = header.u32(offset_of!(PipeHeader, abi));
    match header.u64(offset_of!(PipeHeader, magic)) {
        MAGIC if abi == ABI => {}
        MAGIC => return Err(Unreadable::Version(abi)),
        _ => return Err(Unreadable::Other),
    }
    let n_rings = header.u32(offset_of!(PipeHeader, n_rings));
    let is_whole = len >= DATA_OFFSET as u64 + u64::from(n_rings.min(2)) * u64::from(RING_BYTES);
    if !(1..=2).contains(&n_rings) || header.u32(offset_of!(PipeHeader, ring_bytes)) != RING_BYTES || !is_whole {
        return Err(Unreadable::Garbled("its shape is none that a pipe has"));
    }
    (0..n_rings as usize)
        .map(|ring| view(&header, offset_of!(PipeHeader, rings) + ring * size_of::<RingHeader>()))
        .collect()
}

fn view(header: &Copied, at: usize) -> Result<RingView, Unreadable> {
    let (writer, reader) = (at + offset_of!(RingHeader, writer), at + offset_of!(RingHeader, reader));
    let pid = |at: usize| Participant::from_word(header.u64(at)).map(Participant::pid);
    let last = |turn: usize| {
        let words = [offset_of!(TurnWords, holder), offset_of!(TurnWords, last), offset_of!(TurnWords, biased)];
        words.into_iter().find_map(|word| pid(turn + word))
    };
    let head = header.u64(reader + offset_of!(ReaderWords, head));
    // A writer may have been killed before it said how far it is.
    let tail = header.u64(writer + offset_of!(WriterWords, tail)).max(head);
    if tail - head > u64::from(RING_BYTES) {
        return Err(Unreadable::Garbled("there is more in it than it holds"));
    }
    let announced = header.u32(at + offset_of!(RingHeader, to_writer) + offset_of!(ToWriter, reader_sleeps)) != 0;
    Ok(RingView {
        n_bytes: tail - head,
        tail,
        head,
        sleeping_reader: pid(reader + offset_of!(ReaderWords, listener)).filter(|_| announced),
        has_sleeping_writer: header.u64(at + offset_of!(RingHeader, to_reader) + offset_of!(ToReader, writer_sleeps))
            != 0,
        reader: last(reader + offset_of!(ReaderWords, turn)),
        writer: last(writer + offset_of!(WriterWords, turn)),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use kernel::handover;

    use super::*;

    #[test]
    fn says_what_lies_in_it() {
        let (send, receive) = crate::channel::<u64>().unwrap();
        send.send(&7).unwrap();
        let mut fds = handover::pack_owned_behind(Vec::new(), &receive).unwrap().fds;
        let found = fds.drain(..).find_map(|fd| pipe(&File::from(fd.try_clone().unwrap())).ok().map(|view| (view, fd)));
        let (view, fd) = found.unwrap();
        assert_eq!(view.len(), 1);
        assert_eq!((view[0].n_bytes, view[0].head), (24, 0));
        assert_eq!(receive.recv().unwrap(), 7);
        let view = pipe(&File::from(fd)).unwrap();
        assert_eq!((view[0].n_bytes, view[0].head), (0, 24));
        assert_eq!(view[0].reader, Some(std::process::id()));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(pipe(&[7; 8192][..]), Err(Unreadable::Other)));
        let mut bytes = vec![0; DATA_OFFSET + RING_BYTES as usize];
        bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        assert!(matches!(pipe(&bytes[..]), Err(Unreadable::Version(0))));
        bytes[offset_of!(PipeHeader, abi)] = ABI as u8;
        assert!(matches!(pipe(&bytes[..]), Err(Unreadable::Garbled(_))));
        bytes[12..].fill(0xff);
        assert!(matches!(pipe(&bytes[..]), Err(Unreadable::Garbled(_))));
    }
}
