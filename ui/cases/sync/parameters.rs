#[derive(sync::Plain)]
struct Pair<T> {
    one: T,
    other: T,
}

fn main() {}
