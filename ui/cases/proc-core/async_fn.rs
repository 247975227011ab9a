use proc_core::Process;

async fn answer() -> u64 {
    42
}

fn main() {
    let _ = Process::spawn(answer, ());
}
