//! As much of manifests as has to be known, and the dependencies that documents tell to copy.

use std::path::Path;

use super::{Findings, Tree, markdown::Document};

/// A package of the checkout.
pub(super) struct Package {
    pub(super) name: String,
    /// Its folder, relative to the root.
    pub(super) folder: std::path::PathBuf,
    pub(super) features: Vec<String>,
    /// Names of `[[kind]]` tables, and of files where cargo looks for them.
    targets: Vec<(String, String)>,
}

impl Package {
    /// All packages with a manifest.
    pub(super) fn all(tree: &Tree) -> Vec<Self> {
        let manifests = tree.files.iter().filter(|file| file.file_name().is_some_and(|name| name == "Cargo.toml"));
        manifests.filter_map(|file| Self::read(tree, file)).collect()
    }

    fn read(tree: &Tree, manifest: &Path) -> Option<Self> {
        let folder = manifest.parent()?.to_owned();
        let mut package = Self { name: String::new(), folder, features: Vec::new(), targets: Vec::new() };
        let mut table = String::new();
        for line in tree.text(manifest).lines() {
            if let Some(header) = line.strip_prefix('[') {
                table = header.trim_end_matches(']').trim_start_matches('[').into();
            }
            let Some((key, value)) = line.split_once(" = ") else { continue };
            match (table.as_str(), key) {
                ("package", "name") => package.name = unquoted(value).into(),
                ("features", _) => package.features.push(key.into()),
                ("example" | "test" | "bench" | "bin", "name") => {
                    package.targets.push((table.clone(), unquoted(value).into()));
                }
                _ if table.ends_with("dependencies") && value.contains("optional = true") => {
                    package.features.push(key.into());
                }
                _ => {}
            }
        }
        for (kind, place) in [("example", "examples"), ("test", "tests"), ("bench", "benches"), ("bin", "src/bin")] {
            for file in tree.files.iter().filter_map(|file| file.strip_prefix(package.folder.join(place)).ok()) {
                let is_program = file.components().count() == 1 || file.ends_with("main.rs");
                if let (true, Some(name)) = (is_program, file.components().next()) {
                    let name = name.as_os_str().to_string_lossy();
                    package.targets.push((kind.into(), name.trim_end_matches(".rs").into()));
                }
            }
        }
        (!package.name.is_empty()).then_some(package)
    }

    pub(super) fn has(&self, kind: &str, name: &str) -> bool {
        self.targets.iter().any(|target| target.0 == kind && target.1 == name)
    }
}

/// Checks `name = { path = "…", features = […] }` and `name = "version"`.
pub(super) fn dependencies(document: &Document, tree: &Tree, findings: &mut Findings) {
    let packages = Package::all(tree);
    let lock = tree.text(Path::new("Cargo.lock"));
    for block in document.blocks.iter().filter(|block| block.info == "toml") {
        let mut is_dependency = false;
        for (idx, line) in block.lines.iter().enumerate() {
            if line.starts_with('[') {
                is_dependency = line.contains("dependencies");
            }
            let Some((name, value)) = line.split_once(" = ").filter(|_| is_dependency) else { continue };
            let mut add =
                |what: &str| findings.add(&document.file, block.line + 1 + idx, format_args!("{name}: {what}"));
            let here = packages.iter().find(|package| package.name == name);
            match (option(value, "path").or(option(value, "git")), here) {
                (Some(_), None) => add("no package here is called so"),
                (Some(place), Some(package)) => {
                    let is_elsewhere = option(value, "path").is_some() && !Path::new(place).ends_with(&package.folder);
                    if is_elsewhere {
                        add("its folder is another one");
                    }
                    let features = value.split_once("features = [").and_then(|(_, rest)| rest.split(']').next());
                    for feature in features.unwrap_or_default().split(',').map(|word| unquoted(word.trim())) {
                        if !feature.is_empty() && !package.features.iter().any(|known| known == feature) {
                            add(&format!("there is no feature {feature}"));
                        }
                    }
                }
                (None, _) => {
                    let version = option(value, "version").unwrap_or_else(|| unquoted(value));
                    // The next number up is another one: "1" is not "10".
                    let known = [".", "\"", "-"].map(|end| format!("name = \"{name}\"\nversion = \"{version}{end}"));
                    if !known.iter().any(|known| lock.contains(known)) {
                        add("Cargo.lock has no such version of it");
                    }
                }
            }
        }
    }
}

fn option<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    value.split_once(&format!("{key} = \"")).and_then(|(_, rest)| rest.split('"').next())
}

fn unquoted(value: &str) -> &str {
    value.split('"').nth(1).unwrap_or(value)
}
