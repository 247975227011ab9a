//! Modules of a crate that need each other, and names that a crate gives twice: found in the text, without a compiler.

mod graph;
mod paths;

use std::{collections::BTreeMap, fs, path::Path};

use self::{graph::Graph, paths::Module};
use crate::Outcome;

/// Prints the circles of each crate, and fails if there is one, or a name that says two things.
pub(crate) fn run(names: &[String]) -> Outcome {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut in_knots = Vec::new();
    let mut twice = Vec::new();
    let entries = fs::read_dir(&crates).map_err(|e| format!("cannot read {}: {e}", crates.display()))?;
    let mut roots: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|root| root.join("src/lib.rs").exists()).collect();
    roots.sort();
    for root in roots {
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let modules = paths::read_crate(&root.join("src/lib.rs"))?;
        let graph = graph_of(&modules);
        let circles = graph.circles();
        let in_circles: usize = circles.iter().map(Vec::len).sum();
        println!("{name}: {} modules, {in_circles} of them in {} circles", modules.len(), circles.len());
        for circle in &circles {
            for module in circle {
                let needs = graph.needs_of(module);
                let inside: Vec<String> = needs
                    .filter(|(needed, _)| circle.contains(needed))
                    .map(|(needed, item)| if item.is_empty() { needed.clone() } else { format!("{needed} ({item})") })
                    .collect();
                println!("    {module} needs {}", inside.join(", "));
            }
            println!();
        }
        if in_circles > 0 {
            in_knots.push(format!("{name} ({in_circles})"));
        }
        twice.extend(named_twice(&modules).map(|(of_type, places)| format!("{name}'s {of_type} in {places}")));
    }
    if !in_knots.is_empty() {
        return Err(format!("there are modules in circles: {}", in_knots.join(", ")));
    }
    if twice.is_empty() { Ok(()) } else { Err(format!("there are types of one name: {}", twice.join("; "))) }
}

/// The types of one name of which not all are public, and the modules that they are in. What is public has the same name in
/// each scope; a module `none` stands in for one that is not built in.
fn named_twice(modules: &BTreeMap<String, Module>) -> impl Iterator<Item = (String, String)> {
    let mut places: BTreeMap<&str, Vec<(&str, bool)>> = BTreeMap::new();
    for (module, Module { types, .. }) in modules.iter().filter(|(module, _)| !module.ends_with("::none")) {
        for (name, is_public) in types {
            places.entry(name).or_default().push((module, *is_public));
        }
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1 && !places.iter().all(|(_, public)| *public));
    let of_all = |places: Vec<(&str, bool)>| places.iter().map(|(module, _)| *module).collect::<Vec<_>>().join(", ");
    twice.map(move |(name, places)| (name.to_owned(), of_all(places))).collect::<Vec<_>>().into_iter()
}

fn graph_of(modules: &BTreeMap<String, Module>) -> Graph {
    let mut graph = Graph::default();
    for (name, module) in modules {
        for path in &module.used {
            if let Some((target, item)) = paths::home_of(modules, name, path)
                && target != *name
            {
                graph.add(name, &target, &item);
            }
        }
    }
    graph
}
