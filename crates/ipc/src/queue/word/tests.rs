use super::{
    block::NUMBER_MASK,
    positions::{LAP_MASK, SECTION_SHIFT},
    *,
};

#[test]
fn words_say_what_was_put_into_them() {
    let word = SlotWord::ready(LAP_MASK, What::short(8));
    assert_eq!((word.lap(), word.kind(), word.short_len()), (LAP_MASK, Some(Kind::Short), 8));
    assert!(!word.is_free() && !word.is_taken());
    assert!(SlotWord::free_taken(3).is_free() && SlotWord::free_taken(3).is_taken());
    assert!(!SlotWord::ready(3, What::short(1)).is_taken() && SlotWord(7).kind().is_none());
    assert_eq!(SlotWord::free(0).laps_ahead_of(LAP_MASK), 1);
    assert_eq!(SlotWord::ready(LAP_MASK, What::NUMBER).laps_ahead_of(0), -1);
    let block = BlockId { class: 1, index: (1 << 30) - 1 };
    let cell = CellAt::from_payload(CellAt::new(block, 504).to_payload());
    assert_eq!((cell.block(), cell.len()), (block, 504));
    let taken = Taken { by: Owner(8191), block: BlockId { class: 2, index: (1 << 30) - 1 } };
    assert_eq!(Taken::from_payload(taken.to_payload()), taken);
    let holder = Holder::numbered(Owner(77), NUMBER_MASK);
    assert_eq!(Holder::from_word(holder.to_word()), holder);
    for state in [
        BlockState::Free,
        BlockState::Held(holder),
        BlockState::InRing,
        BlockState::Leased { to: holder, deliveries: 255 },
        BlockState::Orphan { deliveries: 3 },
        BlockState::DeadLetter { deliveries: 1 },
    ] {
        assert_eq!(BlockState::from_word(state.to_word()), state);
    }
}

#[test]
fn positions_visit_every_slot_of_every_lap() {
    for capacity in [1, 2, 3, 5, 8] {
        let ring = Positions::new(capacity);
        let mut position = 0;
        for n in 0..4 * u64::from(capacity) {
            let (lap, slot) = ring.split(position).unwrap();
            assert_eq!((lap, u64::from(slot)), (n / u64::from(capacity), n % u64::from(capacity)));
            assert_eq!(ring.advance(0, n), Some(position));
            assert_eq!((ring.distance(0, position), ring.distance(position, 0).is_some()), (Some(n), n == 0));
            position = ring.after(lap, slot);
        }
    }
    assert!(Positions::new(3).split(3).is_none());
}

#[test]
fn a_growing_ring_goes_through_each_section_by_itself() {
    let ring = Positions::growing(2, 3);
    assert_eq!(ring.n_slots(), 2 + 4 + 8);
    let mut begin = 0;
    for (section, first, len) in [(0, 0, 2), (1, 2, 4), (2, 6, 8)] {
        let mut position = begin;
        for n in 0..3 * len {
            let (lap, slot) = ring.split(position).unwrap();
            assert_eq!((lap, u64::from(slot)), (n / len, first + n % len));
            assert_eq!((ring.join(lap, slot), ring.sections().of(slot)), (position, section));
            assert_eq!((ring.advance(begin, n), ring.distance(begin, position)), (Some(position), Some(n)));
            assert!(ring.are_together(begin, position));
            position = ring.after(lap, slot);
        }
        let next = ring.next_section(position);
        assert_eq!(next.is_some(), section < 2);
        let Some(next) = next else { break };
        assert!(!ring.are_together(begin, next) && next > position);
        begin = next;
    }
    assert!(ring.split(3 << SECTION_SHIFT).is_none() && Positions::new(2).next_section(u64::MAX).is_none());
}
