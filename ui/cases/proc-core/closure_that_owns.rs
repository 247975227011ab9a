use proc_core::Process;

fn main() {
    let text = String::from("captured");
    let _ = Process::spawn(move || text.len(), ());
}
