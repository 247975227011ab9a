#[derive(sync::Plain)]
struct Account {
    balance: i64,
    open: bool,
}

fn main() {}
