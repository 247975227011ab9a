#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use super::*;

fn event(begun: Time, ended: Time, what: What) -> Event {
    Event { begun, ended, what }
}

fn put(begun: Time, ended: Time, value: u64) -> Event {
    event(begun, ended, What::Put(vec![value]))
}

fn got(begun: Time, ended: Time, value: u64) -> Event {
    event(begun, ended, What::Got(vec![value]))
}

#[test]
fn a_right_history_has_no_violation() {
    let history = [
        put(0, 5, 1),
        put(2, 3, 2),
        got(6, 9, 2),
        got(7, 8, 1),
        event(10, 11, What::Empty),
        event(12, 20, What::Put(vec![3, 4])),
        event(13, 21, What::Got(vec![3, 4])),
    ];
    assert_eq!(violations(&history, 2), []);
}

#[test]
fn each_pattern_is_found() {
    let found = |history: &[Event]| violations(history, 2);
    assert_eq!(found(&[got(0, 1, 7)]), [Violation::Fresh(7)]);
    assert_eq!(found(&[got(0, 1, 7), put(2, 3, 7)]), [Violation::Fresh(7)]);
    assert_eq!(found(&[put(0, 1, 7), got(2, 3, 7), got(4, 5, 7)]), [Violation::Twice(7)]);
    assert_eq!(found(&[put(0, 1, 1), put(2, 3, 2), got(4, 5, 2), got(6, 7, 1)]), [Violation::Order(1, 2)]);
    assert_eq!(found(&[put(0, 1, 1), put(2, 3, 2), got(4, 5, 2)]), [Violation::Order(1, 2)]);
    assert_eq!(found(&[put(0, 1, 1), event(2, 3, What::Empty)]), [Violation::Empty(2, 3)]);
    // No single value is in for the whole of the call, but always one.
    let relay = [put(0, 1, 1), put(3, 4, 2), got(6, 7, 1), event(2, 9, What::Empty), got(10, 11, 2)];
    assert_eq!(found(&relay), [Violation::Empty(2, 9)]);
    assert_eq!(found(&[put(0, 1, 1), event(2, 3, What::Full)]), [Violation::Full(2, 3)]);
    assert_eq!(found(&[put(0, 1, 1), put(0, 1, 2), put(0, 1, 3)]), [Violation::Bound(2)]);
    assert_eq!(found(&[event(0, 1, What::Torn)]), [Violation::Torn]);
    let in_one_put = [event(0, 1, What::Put(vec![1, 2])), got(2, 3, 2), got(4, 5, 1)];
    assert_eq!(found(&in_one_put), [Violation::Order(1, 2)]);
    let in_one_get = [put(0, 1, 1), put(2, 3, 2), event(4, 5, What::Got(vec![2, 1]))];
    assert_eq!(found(&in_one_get), [Violation::Order(1, 2)]);
}

/// Tries every order of the calls that their times allow.
fn is_linear(events: &[Event], done: u32, queue: &mut VecDeque<u64>, capacity: usize) -> bool {
    if done.count_ones() as usize == events.len() {
        return true;
    }
    let open = |i: usize| done & 1 << i == 0;
    let first_end = (0..events.len()).filter(|i| open(*i)).map(|i| events[i].ended).min().unwrap();
    (0..events.len()).filter(|i| open(*i) && events[*i].begun <= first_end).any(|i| {
        let before = queue.clone();
        let is_right = match &events[i].what {
            What::Put(list) => {
                queue.extend(list);
                queue.len() <= capacity
            }
            What::Got(list) => queue.pop_front().as_ref() == list.first(),
            What::Empty => queue.is_empty(),
            What::Full => queue.len() >= capacity,
            What::Torn => false,
        };
        let is_linear = is_right && is_linear(events, done | 1 << i, queue, capacity);
        *queue = before;
        is_linear
    })
}

/// A history of six calls at random times, each value taken at most once.
fn random_history(random: &mut impl FnMut(u64) -> u64) -> Vec<Event> {
    let mut untaken: Vec<u64> = Vec::new();
    let mut history = Vec::new();
    for value in 0..6 {
        let begun = random(20);
        let ended = begun + random(8);
        let what = match random(if history.is_empty() { 1 } else { 10 }) {
            0..4 => {
                untaken.push(value);
                What::Put(vec![value])
            }
            4..8 if !untaken.is_empty() => What::Got(vec![untaken.swap_remove(random(untaken.len() as u64) as usize)]),
            8 => What::Full,
            _ => What::Empty,
        };
        history.push(event(begun, ended, what));
    }
    history
}

#[test]
fn a_search_of_all_orders_agrees() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    let (mut n_right, mut n_wrong) = (0, 0);
    for _ in 0..40_000 {
        let history = random_history(&mut random);
        let has_full = history.iter().any(|event| event.what == What::Full);
        let capacity = if has_full { 2 } else { 100 };
        let found = violations(&history, capacity);
        let is_linear = is_linear(&history, 0, &mut VecDeque::new(), capacity);
        // Nothing is found in a right history; and in a wrong one of an unbounded queue, always something.
        assert!(!is_linear || found.is_empty(), "{history:?}: {found:?}");
        assert!(is_linear || has_full || !found.is_empty(), "{history:?}");
        n_right += u32::from(is_linear);
        n_wrong += u32::from(!is_linear && !found.is_empty());
    }
    println!("{n_right} right histories and {n_wrong} wrong ones");
    assert!(n_right > 1000 && n_wrong > 1000);
}
