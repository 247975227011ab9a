//! The modules of a crate, what each defines and what each names, read from its text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A file of a crate, as far as its paths go.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// What it names of others; what it only exports again is left out.
    pub(super) used: Vec<Vec<String>>,
    /// What it imports or re-exports under a name of its own; those with the name `*` are globs.
    imported: Vec<(String, Vec<String>)>,
    defined: BTreeSet<String>,
    /// The types and traits that it defines, and whether they are `pub`.
    pub(super) types: Vec<(String, bool)>,
}

/// Reads the crate with that `lib.rs`: modules by their path, the root's is `crate`. What is for tests only is left out.
pub(super) fn read_crate(lib: &Path) -> Result<BTreeMap<String, Module>, String> {
    let mut modules = BTreeMap::new();
    let directory = lib.parent().unwrap_or(Path::new(".")).to_owned();
    read_module("crate", lib, &directory, &mut modules)?;
    Ok(modules)
}

fn read_module(name: &str, file: &Path, children: &Path, modules: &mut BTreeMap<String, Module>) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    let tokens = without_tests(&tokens_of(&text));
    let mut module = Module::default();
    let mut exported = Vec::new();
    let mut other: BTreeSet<&str> = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        let next = tokens.get(at + 1).map(String::as_str).unwrap_or_default();
        match token {
            "mod" if tokens.get(at + 2).is_some_and(|token| token == ";") => {
                let child = children.join(format!("{next}.rs"));
                let file: PathBuf = if child.exists() { child } else { children.join(next).join("mod.rs") };
                if file.exists() {
                    read_module(&format!("{name}::{next}"), &file, &children.join(next), modules)?;
                }
                at += 3;
            }
            "use" => {
                let is_export = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
                let (paths, end) = use_tree(&tokens, at + 1);
                for (alias, path) in paths {
                    if is_export {
                        exported.push((alias.clone(), path.clone()));
                    } else {
                        module.used.push(path.clone());
                    }
                    module.imported.push((alias, path));
                }
                at = end;
            }
            "struct" | "enum" | "trait" | "union" => {
                // Lists of words in macros name kinds of types, in small letters.
                if next.starts_with(char::is_uppercase) {
                    let before = tokens[..at].iter().rev().find(|token| *token != "unsafe");
                    module.types.push((next.to_owned(), before.is_some_and(|token| token == "pub")));
                }
                module.defined.insert(next.to_owned());
                at += 1;
            }
            "fn" | "type" | "const" | "static" => {
                module.defined.insert(next.to_owned());
                at += 1;
            }
            "crate" | "super" if next == "::" => {
                let (path, end) = plain_path(&tokens, at);
                // `pub(in …)` says who may use an item, and uses nothing.
                if at < 2 || tokens[at - 2..at] != ["(", "in"] {
                    module.used.push(path);
                }
                at = end;
            }
            _ => {
                other.insert(token);
                at += 1;
            }
        }
    }
    module.used.extend(exported.into_iter().filter(|(alias, _)| other.contains(alias.as_str())).map(|(_, path)| path));
    modules.insert(name.to_owned(), module);
    Ok(())
}

/// Which module the path leads to as `from` writes it, re-exports followed, and the item there; none if it leads out of the crate.
pub(super) fn home_of(modules: &BTreeMap<String, Module>, from: &str, path: &[String]) -> Option<(String, String)> {
    resolve(modules, from, path, 0)
}

fn resolve(modules: &BTreeMap<String, Module>, from: &str, path: &[String], depth: usize) -> Option<(String, String)> {
    if depth > 16 {
        return None;
    }
    let mut here = from.to_owned();
    for (index, segment) in path.iter().enumerate() {
        match segment.as_str() {
            "crate" if index == 0 => "crate".clone_into(&mut here),
            "self" => {}
            "super" => here = here.rsplit_once("::")?.0.to_owned(),
            name => {
                let child = format!("{here}::{name}");
                if modules.contains_key(&child) {
                    here = child;
                    continue;
                }
                let module = &modules[&here];
                if module.defined.contains(name) {
                    return (index > 0).then(|| (here, name.to_owned()));
                }
                for (alias, target) in &module.imported {
                    let tail = &path[index + 1..];
                    let longer: Vec<String> = match alias.as_str() {
                        "*" => target.iter().chain(&path[index..]).cloned().collect(),
                        alias if alias == name && *target != path[..=index] => {
                            target.iter().chain(tail).cloned().collect()
                        }
                        _ => continue,
                    };
                    if let Some(found) = resolve(modules, &here, &longer, depth + 1) {
                        return Some(found);
                    }
                }
                return (index > 0 && path[0] != name).then(|| (here, name.to_owned())).filter(|_| depth == 0);
            }
        }
    }
    Some((here, String::new()))
}

/// The path that begins at a token: names joined by `::`.
fn plain_path(tokens: &[String], mut at: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[at].clone()];
    at += 1;
    while tokens.get(at).is_some_and(|token| token == "::") && tokens.get(at + 1).is_some_and(|token| is_name(token)) {
        path.push(tokens[at + 1].clone());
        at += 2;
    }
    (path, at)
}

/// The paths of a `use`, each with the name that it gets here, and where the statement ends.
fn use_tree(tokens: &[String], mut at: usize) -> (Vec<(String, Vec<String>)>, usize) {
    let mut paths = Vec::new();
    let mut prefixes: Vec<Vec<String>> = vec![Vec::new()];
    let mut path: Vec<String> = Vec::new();
    let mut alias = None;
    let mut add = |path: &mut Vec<String>, alias: &mut Option<String>| {
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(last) = path.last().cloned() {
            let is_glob = last == "*";
            if is_glob {
                path.pop();
            }
            paths.push((alias.take().unwrap_or(last), std::mem::take(path)));
        }
    };
    while at < tokens.len() {
        match tokens[at].as_str() {
            ";" => {
                add(&mut path, &mut alias);
                break;
            }
            "{" => prefixes.push(path.clone()),
            "}" => {
                if path.len() > prefixes.last().map_or(0, Vec::len) {
                    add(&mut path, &mut alias);
                }
                prefixes.pop();
                path.clear();
            }
            "," => {
                if !path.is_empty() {
                    add(&mut path, &mut alias);
                }
                path = prefixes.last().cloned().unwrap_or_default();
            }
            "as" => {
                at += 1;
                alias = tokens.get(at).cloned();
            }
            "::" => {}
            name => {
                if path.is_empty() {
                    path = prefixes.last().cloned().unwrap_or_default();
                }
                path.push(name.to_owned());
            }
        }
        at += 1;
    }
    (paths, at + 1)
}

/// Leaves out items marked `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "#" && tokens.get(at + 1).is_some_and(|token| token == "[") {
            let end = closing(tokens, at + 1);
            let attribute: Vec<&str> = tokens[at + 2..end].iter().map(String::as_str).collect();
            let is_test =
                matches!(attribute[..], ["cfg", "(", "test", ..] | ["cfg", "(", "all", "(", "test", ..] | ["test", ..]);
            at = end + 1;
            if is_test {
                while at < tokens.len() && !matches!(tokens[at].as_str(), ";" | "{") {
                    at += 1;
                }
                if tokens.get(at).is_some_and(|token| token == "{") {
                    at = closing(tokens, at);
                    // A `use {…};` ends with its semicolon.
                    if tokens.get(at + 1).is_some_and(|token| token == ";") {
                        at += 1;
                    }
                }
                at += 1;
            }
            continue;
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

/// Where the bracket at `at` is closed.
fn closing(tokens: &[String], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single characters; comments and literals are left out.
fn tokens_of(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                at += 2 + rest.windows(2).skip(2).position(|pair| pair == ['*', '/']).map_or(rest.len(), |n| n + 2)
            }
            ['r', '"', ..] | ['r', '#', ..] if raw_string(rest).is_some() => at += raw_string(rest).unwrap_or(1),
            ['"', ..] => at += string(rest),
            ['\'', '\\', ..] => at += 2 + rest[3..].iter().position(|c| *c == '\'').map_or(1, |n| n + 2),
            ['\'', _, '\'', ..] => at += 3,
            [':', ':', ..] => {
                tokens.push("::".into());
                at += 2;
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let length = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_').unwrap_or(rest.len());
                tokens.push(rest[..length].iter().collect());
                at += length;
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                at += 1;
            }
            [] => break,
        }
    }
    tokens
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// How long the raw string is that begins here, if one does.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then(|| {
        let mut end = vec!['"'];
        end.extend(std::iter::repeat_n('#', hashes));
        let body = 2 + hashes;
        body + rest[body..].windows(end.len()).position(|window| window == end).unwrap_or(rest.len() - body) + end.len()
    })
}
