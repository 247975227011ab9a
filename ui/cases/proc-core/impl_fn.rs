use proc_core::Process;

fn start(work: impl Fn() -> u64) {
    let _ = Process::spawn(work, ());
}

fn main() {
    start(|| 7);
}
