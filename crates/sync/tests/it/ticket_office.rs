//! The ticket office of the tutorials: eight buyers, two tickets, and a file for a database; `TICKET_RUNS=1000` says how
//! often.

use std::{
    io::{Read, Seek, SeekFrom, Write},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use proc_core::shm::Shared;
use sync::process::Lock;

use crate::util::{Child, Dice, counter, dog_for};

fn n_runs() -> u64 {
    std::env::var("TICKET_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(25)
}

struct TicketOffice {
    file: std::fs::File,
    lock: Lock<()>,
    sold: Shared<AtomicU64>,
    /// Buyers that were killed while they had the lock.
    died: Shared<AtomicU64>,
}

const TICKETS: u64 = 2;

impl TicketOffice {
    fn open() -> Self {
        let path =
            std::env::temp_dir().join(format!("tickets-{}-{:?}", std::process::id(), std::thread::current().id()));
        let mut options = std::fs::File::options();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        write!(file, "{TICKETS}").unwrap();
        Self { file, lock: Lock::new(()).unwrap(), sold: counter(), died: counter() }
    }

    /// Looks, thinks, and buys; the sale counts from when it is in the file.
    fn buy(&self) {
        let mut text = String::new();
        (&self.file).seek(SeekFrom::Start(0)).unwrap();
        (&self.file).read_to_string(&mut text).unwrap();
        let left: u64 = text.parse().unwrap();
        std::thread::yield_now();
        if left > 0 {
            // The seat is given away when the office says so, and the number is written first: a buyer killed in
            // between loses a ticket, and never sells one twice.
            std::os::unix::fs::FileExt::write_all_at(&self.file, (left - 1).to_string().as_bytes(), 0).unwrap();
            self.sold.fetch_add(1, SeqCst);
        }
    }

    fn buy_with_lock(&self) {
        let guard = self.lock.lock().unwrap_or_else(|died| {
            self.died.fetch_add(1, SeqCst);
            died.into_inner()
        });
        guard.mark_consistent();
        self.buy();
    }
}

#[test]
fn ticket_office_with_a_lock_never_oversells_though_buyers_are_killed() {
    let _dog = dog_for(Duration::from_secs(60 + n_runs() / 5));
    let mut dice = Dice::new();
    let (mut n_died, mut n_sold) = (0, 0);
    for _ in 0..n_runs() {
        let office = TicketOffice::open();
        let mut buyers: Vec<Child> = (0..8).map(|_| Child::spawn(|| office.buy_with_lock())).collect();
        let victim = dice.roll(8) as usize;
        dice.sleep_a_little();
        buyers.swap_remove(victim).kill();
        buyers.into_iter().for_each(Child::join);
        let sold = office.sold.load(SeqCst);
        assert!(sold <= TICKETS);
        n_sold += sold;
        n_died += office.died.load(SeqCst);
    }
    println!("{} runs, {n_sold} tickets sold, {n_died} buyers killed at the counter, never oversold", n_runs());
}

#[test]
fn ticket_office_without_a_lock_oversells() {
    let _dog = dog_for(Duration::from_secs(60));
    let oversold = (1..=500).find(|_| {
        let office = TicketOffice::open();
        let buyers: Vec<Child> = (0..8).map(|_| Child::spawn(|| office.buy())).collect();
        // Some may read while another writes: no number at all is as wrong as a wrong one.
        buyers.into_iter().for_each(|buyer| {
            buyer.end();
        });
        office.sold.load(SeqCst) > TICKETS
    });
    println!("oversold in run {}", oversold.expect("two look before either takes, some day"));
}
