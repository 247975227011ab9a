use std::sync::atomic::AtomicU32;

#[derive(sync::ShmSafe)]
struct Counters {
    hits: AtomicU32,
}

fn main() {}
