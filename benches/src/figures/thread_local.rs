//! One access to a thread's own value.

use std::{cell::Cell, hint::black_box, io};

use tls::Local;

use crate::{
    figure::{Figure, Plan, Side},
    python,
    run::nanoseconds,
};

const N_AT_ONCE: u64 = 1000;

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    vec![Plan::new("tls", "tls, one access", access)]
}

fn access(name: String) -> io::Result<Figure> {
    thread_local! {
        static PLAIN: Cell<u64> = const { Cell::new(0) };
        static LAZY: Box<Cell<u64>> = Box::new(Cell::new(0));
    }
    fn add(figure: Figure, side: Side, name: &str, mut call: impl FnMut() + 'static) -> Figure {
        // Many accesses to a turn: one is less than the loop around it.
        let mut sample = nanoseconds(move || (0..N_AT_ONCE).for_each(|_| call()));
        figure.case(side, name, move |length| Ok(sample(length)? / N_AT_ONCE as f64))
    }
    fn bump(cell: &Cell<u64>) {
        cell.set(black_box(cell.get() + 1));
    }
    let ours: Local<Cell<u64>> = Local::new(|| Cell::new(0));
    let peer = thread_local::ThreadLocal::new();
    let figure = add(Figure::cost(name, "ns"), Side::Ours, "Local", move || ours.with(bump));
    let figure = add(figure, Side::Rust, "thread_local crate", move || bump(peer.get_or(|| Cell::new(0))));
    let figure = add(figure, Side::Limit, "std, const", || PLAIN.with(bump));
    let figure = add(figure, Side::Rust, "std, lazy", || LAZY.with(|cell| bump(cell)));
    Ok(python::add(figure, &[("thread_local", "Python threading.local")]))
}
