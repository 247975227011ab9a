#[derive(sync::ShmSafe)]
#[repr(C)]
struct Counters {
    hits: u32,
}

fn main() {}
