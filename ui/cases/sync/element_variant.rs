#[derive(sync::Element)]
enum Shape {
    Point,
    Circle(f64),
}

fn main() {}
