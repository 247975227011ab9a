#[derive(sync::Element)]
struct Account {
    balance: i64,
    open: bool,
    owner: String,
}

fn main() {}
