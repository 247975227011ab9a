//! Counts the instructions of operations. `cargo xtask profile` calls it.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use benches::profile::{OPERATIONS, count, perform};

const HELP: &str = "\
usage: cargo xtask profile [OPERATION]... [--save NAME] [--against NAME]

  OPERATION is any part of an operation's name. Counts by callgrind, which leaves its files for callgrind_annotate
  in target/bench/profile; --against fails if an operation takes 5 % more than there.";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, n] = &args[..]
        && first == "perform"
    {
        return Ok(perform(name, n.parse()?)?);
    }
    let (mut wanted, mut save, mut against) = (Vec::new(), None, None);
    let mut rest = args.into_iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--save" => save = rest.next(),
            "--against" => against = rest.next(),
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
    println!("{:32} {:>14}", "operation", "instructions");
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    for (name, _) in OPERATIONS.iter().filter(|(name, _)| is_wanted(name)) {
        let n = count(name, folder)?;
        let change = before.get(*name).map(|earlier| n / earlier);
        n_worse += usize::from(change.is_some_and(|change| change > 1.05));
        println!("{name:32} {n:14.1} {}", change.map_or(String::new(), |change| format!("{change:8.3}x")));
        counts.insert((*name).to_owned(), n);
    }
    if let Some(name) = save {
        fs::write(file(&name), serde_json::to_string_pretty(&counts)?)?;
    }
    if n_worse > 0 {
        Err(format!("{n_worse} operations take 5 % more instructions than before").into())
    } else {
        Ok(())
    }
}
