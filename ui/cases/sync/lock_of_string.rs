fn main() {
    let _ = sync::process::Lock::new(String::new());
}
