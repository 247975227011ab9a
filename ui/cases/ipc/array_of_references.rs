fn main() {
    let _ = ipc::Array::from_slice(&["a", "b"]);
}
