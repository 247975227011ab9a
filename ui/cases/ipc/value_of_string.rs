fn main() {
    let _ = ipc::Value::new("text".to_string());
}
