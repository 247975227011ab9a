//! Counts the instructions of operations. `cargo xtask profile` calls it.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use benches::profile::{count, has_served, operations};

const HELP: &str = "\
usage: cargo xtask profile [FIGURE]... [--save NAME] [--against NAME]

  FIGURE is any part of an operation's name, which begins with its figure's. Counts instructions by callgrind, which
  leaves its files for callgrind_annotate in target/bench/profile. --against compares with counts that were saved, and
  fails if an operation takes 2 % more than there.";

fn main() -> Result<(), Box<dyn Error>> {
    if has_served()? {
        return Ok(());
    }
    let (mut wanted, mut save, mut against) = (Vec::new(), None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--save" => save = Some(args.next().ok_or(HELP)?),
            "--against" => against = Some(args.next().ok_or(HELP)?),
            option if option.starts_with('-') => {
                println!("{HELP}");
                return Ok(());
            }
            _ => wanted.push(arg),
        }
    }
    let folder = Path::new("target/bench/profile");
    fs::create_dir_all(folder)?;
    let file = |name: &str| folder.join(format!("{name}.json"));
    let before: BTreeMap<String, f64> = match &against {
        Some(name) => serde_json::from_str(&fs::read_to_string(file(name))?)?,
        None => BTreeMap::new(),
    };
    let mut counts = BTreeMap::new();
    let mut n_worse = 0;
    println!("{:40} {:>14}", "operation", "instructions");
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    if !operations().any(|(name, ..)| is_wanted(name)) {
        let names: Vec<&str> = operations().map(|each| each.0).collect();
        return Err(format!("no operation is called {wanted:?}; there are\n{}", names.join("\n")).into());
    }
    for (name, ..) in operations().filter(|(name, ..)| is_wanted(name)) {
        let n = count(name, folder)?;
        let change = before.get(*name).map(|earlier| n / earlier);
        n_worse += usize::from(change.is_some_and(|change| change > 1.02));
        println!("{name:40} {n:14.1} {}", change.map_or(String::new(), |change| format!("{change:8.3}x")));
        counts.insert((*name).to_owned(), n);
    }
    if let Some(name) = save {
        fs::write(file(&name), serde_json::to_string_pretty(&counts)?)?;
    }
    if n_worse > 0 {
        Err(format!("{n_worse} operations take 2 % more instructions than before").into())
    } else {
        Ok(())
    }
}
