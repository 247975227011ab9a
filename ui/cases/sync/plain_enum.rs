#[derive(sync::Plain)]
enum Light {
    Red,
    Green,
}

fn main() {}
