#[derive(sync::Plain)]
#[shm(krate = locks)]
struct Account {
    balance: i64,
}

fn main() {}
