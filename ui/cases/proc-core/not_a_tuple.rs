use proc_core::Process;

fn twice(n: u64) -> u64 {
    2 * n
}

fn main() {
    let _ = Process::spawn(twice, 21);
}
