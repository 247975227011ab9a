fn main() {
    let _ = sync::process::Lock::new((0_u32, true));
}
