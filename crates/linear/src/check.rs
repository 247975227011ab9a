//! Whether a history is one of a first-in-first-out queue: whether each call can have happened at one moment between its
//! beginning and its end.
//!
//! As every value is put once, it is enough to look for a few patterns (Henzinger, Sezgin, Vafeiadis, *Aspect-oriented
//! linearizability proofs*, 2013). Without a bound, a history has one of the first four exactly if it is wrong; the last
//! two are never found in a right one.
//!
//! * *fresh*: a value was taken before anybody began to put it;
//! * *twice*: a value was taken twice;
//! * *order*: a was put before b, but b was taken and a was not, or was taken later;
//! * *empty*: a call found the queue empty, and at each moment of the call some value was certainly in it;
//! * *full*: a call found the queue full, and at no moment of the call there can have been as many values;
//! * *bound*: at some moment more values than fit were certainly in the queue.

use std::{collections::HashMap, fmt};

use crate::history::{Event, Time, What};

/// Beginning and end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begun: Time,
    ended: Time,
}

/// What became of a value. A value that nobody took has a last span at the end of time.
#[derive(Clone, Copy, Debug)]
struct Value {
    value: u64,
    put: Span,
    got: Span,
}

const NEVER: Span = Span { begun: Time::MAX, ended: Time::MAX };

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    Torn,
    Fresh(u64),
    Twice(u64),
    /// The first was put before the second.
    Order(u64, u64),
    /// In this call, in nanoseconds.
    Empty(Time, Time),
    Full(Time, Time),
    Bound(Time),
}

impl Violation {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Fresh(_) => "fresh",
            Self::Twice(_) => "twice",
            Self::Order(..) => "order",
            Self::Empty(..) => "empty",
            Self::Full(..) => "full",
            Self::Bound(_) => "bound",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn => write!(f, "something was taken that nobody can have put"),
            Self::Fresh(value) => write!(f, "{value:#x} was taken before it was put"),
            Self::Twice(value) => write!(f, "{value:#x} was taken twice"),
            Self::Order(a, b) => write!(f, "{a:#x} was put before {b:#x}, which was taken first"),
            Self::Empty(from, to) => write!(f, "\"empty\" from {from} to {to}, and there was always a value in it"),
            Self::Full(from, to) => write!(f, "\"full\" from {from} to {to}, and there was always room"),
            Self::Bound(at) => write!(f, "more values than fit at {at}"),
        }
    }
}

/// Everything that is wrong, as far as the patterns show it.
pub(crate) fn violations(events: &[Event], capacity: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    let values = values(events, &mut found);
    orders(&values, &mut found);
    orders_in_calls(events, &values, &mut found);
    let certain = merge(certain_spans(&values).collect());
    let crowded = times_of(values.iter().map(|v| (v.put.begun, v.got.ended.saturating_add(1))), capacity);
    for event in events {
        let span = Span { begun: event.begun, ended: event.ended };
        match event.what {
            What::Empty if covers(&certain, span) => found.push(Violation::Empty(span.begun, span.ended)),
            What::Full if !meets(&crowded, span) => found.push(Violation::Full(span.begun, span.ended)),
            What::Torn => found.push(Violation::Torn),
            _ => {}
        }
    }
    let certain = certain_spans(&values).map(|span| (span.begun + 1, span.ended));
    found.extend(times_of(certain, capacity + 1).first().map(|span| Violation::Bound(span.begun)));
    found
}

fn values(events: &[Event], found: &mut Vec<Violation>) -> Vec<Value> {
    let mut places = HashMap::new();
    let mut values = Vec::new();
    for event in events {
        if let What::Put(put) = &event.what {
            for value in put {
                places.insert(*value, values.len());
                let put = Span { begun: event.begun, ended: event.ended };
                values.push(Value { value: *value, put, got: NEVER });
            }
        }
    }
    for event in events {
        let What::Got(got) = &event.what else { continue };
        for value in got {
            match places.get(value).map(|place| &mut values[*place]) {
                Some(known) if known.got != NEVER => found.push(Violation::Twice(*value)),
                Some(known) if event.ended >= known.put.begun => {
                    known.got = Span { begun: event.begun, ended: event.ended };
                }
                _ => found.push(Violation::Fresh(*value)),
            }
        }
    }
    values
}

/// For each value, whether one that was put earlier was taken later, or never.
fn orders(values: &[Value], found: &mut Vec<Violation>) {
    let (mut by_begin, mut by_end) = (values.to_vec(), values.to_vec());
    by_begin.sort_unstable_by_key(|v| v.put.begun);
    by_end.sort_unstable_by_key(|v| v.put.ended);
    let mut earlier = by_end.into_iter().peekable();
    let mut latest: Option<Value> = None;
    for value in by_begin {
        while let Some(before) = earlier.next_if(|v| v.put.ended < value.put.begun) {
            if latest.is_none_or(|latest| before.got.begun > latest.got.begun) {
                latest = Some(before);
            }
        }
        if let Some(latest) = latest
            && value.got.ended < latest.got.begun
        {
            found.push(Violation::Order(latest.value, value.value));
        }
    }
}

/// The same for values that one call has put or taken: their order in the call counts.
fn orders_in_calls(events: &[Event], values: &[Value], found: &mut Vec<Violation>) {
    let is_many = |list: &Vec<u64>| list.len() > 1;
    if !events.iter().any(|e| matches!(&e.what, What::Put(list) | What::Got(list) if is_many(list))) {
        return;
    }
    let places: HashMap<u64, &Value> = values.iter().map(|v| (v.value, v)).collect();
    for event in events {
        let (What::Put(list) | What::Got(list)) = &event.what else { continue };
        let mut latest: Option<&Value> = None;
        for value in list.iter().filter_map(|value| places.get(value).copied()) {
            match event.what {
                What::Put(_) => {
                    if let Some(latest) = latest
                        && value.got.ended < latest.got.begun
                    {
                        found.push(Violation::Order(latest.value, value.value));
                    }
                    if latest.is_none_or(|latest| value.got.begun > latest.got.begun) {
                        latest = Some(value);
                    }
                }
                _ => {
                    if let Some(latest) = latest
                        && value.put.ended < latest.put.begun
                    {
                        found.push(Violation::Order(value.value, latest.value));
                    }
                    if latest.is_none_or(|latest| value.put.begun > latest.put.begun) {
                        latest = Some(value);
                    }
                }
            }
        }
    }
}

/// For each value, the time between the end of its put and the beginning of its get: both ends excluded.
fn certain_spans(values: &[Value]) -> impl Iterator<Item = Span> {
    let spans = values.iter().map(|v| Span { begun: v.put.ended, ended: v.got.begun });
    spans.filter(|span| span.begun < span.ended)
}

/// Unites spans that overlap.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable_by_key(|span| span.begun);
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.begun < last.ended => last.ended = last.ended.max(span.ended),
            _ => merged.push(span),
        }
    }
    merged
}

fn covers(merged: &[Span], span: Span) -> bool {
    let after = merged.partition_point(|m| m.begun < span.begun);
    after > 0 && span.ended < merged[after - 1].ended
}

fn meets(spans: &[Span], span: Span) -> bool {
    let first = spans.partition_point(|s| s.ended < span.begun);
    spans.get(first).is_some_and(|s| s.begun <= span.ended)
}

/// The times at which at least `wanted` of the half-open intervals hold; both ends included.
fn times_of(intervals: impl Iterator<Item = (Time, Time)>, wanted: usize) -> Vec<Span> {
    let mut steps: Vec<(Time, i64)> = Vec::new();
    for (from, to) in intervals.filter(|(from, to)| from < to) {
        steps.push((from, 1));
        steps.push((to, -1));
    }
    steps.sort_unstable();
    let (mut count, mut since, mut times) = (0, None, Vec::new());
    for (at, step) in steps {
        count += step;
        match since {
            None if count >= wanted as i64 => since = Some(at),
            Some(begun) if count < wanted as i64 => {
                if begun < at {
                    times.push(Span { begun, ended: at - 1 });
                }
                since = None;
            }
            _ => {}
        }
    }
    times
}

#[cfg(test)]
mod tests;
