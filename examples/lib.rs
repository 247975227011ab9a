//! Programs that show what this project is for: `cargo run --release --example NAME`, see `README.md` beside this file.
