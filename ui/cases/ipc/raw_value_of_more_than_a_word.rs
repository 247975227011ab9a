fn main() {
    let _ = ipc::RawValue::new([0_u64; 2]);
}
