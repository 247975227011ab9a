fn main() {
    let flags = ipc::Array::<bool>::new(3).unwrap();
    flags.lock().unwrap()[1] = true;
}
