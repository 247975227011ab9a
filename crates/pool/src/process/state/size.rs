//! How many workers there are: growing, shrinking, and replacing one that has become too large.
//!
//! The first `n_wanted` seats are the pool's. A worker on another one, *aside*, ends what it is running, gets nothing more,
//! and leaves; no worker follows it there.

use std::sync::atomic::Ordering::Relaxed;

use super::State;
use crate::process::seat::{Life, Parting, Place, Seat, Worker};

impl State {
    /// Makes the pool have `n` workers from now on.
    pub(in crate::process) fn resize(&mut self, n: usize) {
        let before = std::mem::replace(&mut self.n_wanted, n);
        for seat in n..before {
            self.give_up(seat);
        }
        if self.seats.len() < n {
            self.seats.resize_with(n, || Seat::Closed);
        }
        for seat in before..n {
            self.occupy(seat);
        }
        self.is_service_wanted = true;
    }

    /// Empties a seat that is not the pool's any more.
    fn give_up(&mut self, seat: usize) {
        match &mut self.seats[seat] {
            Seat::Taken(worker) => {
                worker.parting.get_or_insert(Parting::Surplus);
                self.has_parting = true;
                let may_stay = may_stay(worker);
                let resting = self.seats[..self.n_wanted].iter().position(|seat| matches!(seat, Seat::Resting));
                match resting.filter(|_| may_stay) {
                    // When there is work again, this worker is better than a new one.
                    Some(resting) => self.take_back(seat, resting),
                    None => self.recall(seat, 0, usize::MAX),
                }
            }
            nobody => *nobody = Seat::Closed,
        }
    }

    /// Puts a worker on a seat that is the pool's now: one aside that has not been told to leave, or a new one.
    fn occupy(&mut self, seat: usize) {
        let stays = |seat: &Seat| matches!(seat, Seat::Taken(worker) if may_stay(worker));
        if stays(&self.seats[seat]) {
            return self.take_back(seat, seat);
        }
        if matches!(self.seats[seat], Seat::Taken(_)) {
            self.put_aside(seat);
        }
        match (self.n_wanted..self.seats.len()).find(|aside| stays(&self.seats[*aside])) {
            Some(aside) => self.take_back(aside, seat),
            None => self.seats[seat] = Seat::Vacant(None),
        }
    }

    /// Moves a worker to a seat of the pool, where it stays.
    fn take_back(&mut self, from: usize, to: usize) {
        self.relocate(from, to);
        if let Seat::Taken(worker) = &mut self.seats[to] {
            worker.parting = None;
        }
    }

    /// Moves a worker off its seat, which is closed then.
    fn put_aside(&mut self, seat: usize) {
        let is_free = |aside: &usize| matches!(self.seats[*aside], Seat::Closed);
        let aside = (self.n_wanted..self.seats.len()).find(is_free).unwrap_or_else(|| {
            self.seats.push(Seat::Closed);
            self.seats.len() - 1
        });
        self.relocate(seat, aside);
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.seats.swap(from, to);
        self.busy.insert(to);
        if from != to {
            self.seats[from] = Seat::Closed;
        }
        let Seat::Taken(worker) = &self.seats[to] else { return };
        for (slot, held) in worker.held.iter().enumerate() {
            if let Some(work) = held {
                work.header().place.store(Place { seat: to, slot }.pack(), Relaxed);
            }
        }
    }

    /// Replaces workers that have become too large, before they have ended what they are running. At most as many workers
    /// are aside at a time as the pool has: beyond that the old one ends first.
    pub(in crate::process) fn replace_large(&mut self) {
        if !std::mem::take(&mut self.has_large) || self.is_dismissed() {
            return;
        }
        for seat in 0..self.n_wanted {
            let is_large =
                |seat: &Seat| matches!(seat, Seat::Taken(worker) if worker.parting == Some(Parting::TooLarge));
            if !is_large(&self.seats[seat]) {
                continue;
            }
            self.recall(seat, 0, usize::MAX);
            let n_aside = self.seats[self.n_wanted..].iter().filter(|seat| matches!(seat, Seat::Taken(_))).count();
            if n_aside < self.n_wanted {
                self.put_aside(seat);
                self.seats[seat] = Seat::Vacant(None);
                self.restarts += 1;
                self.is_service_wanted = true;
            }
        }
    }
}

/// Whether a worker that is to leave can be kept after all: it has not been told.
fn may_stay(worker: &Worker) -> bool {
    worker.parting == Some(Parting::Surplus) && !matches!(worker.life, Life::Leaving { .. })
}
