//! `SECURITY.md` claims nothing that no test shows.

use std::{fs, path::Path};

/// A claim's words, and the tests named under it.
struct Claim {
    text: String,
    tests: Vec<String>,
}

/// The claims of a text: list items under `## Claims`, whose lines in backquotes are `FILE::TEST`.
fn claims(text: &str) -> Vec<Claim> {
    let section = text.split("\n## ").find(|section| section.starts_with("Claims\n")).expect("a section of claims");
    let mut claims: Vec<Claim> = Vec::new();
    for line in section.lines() {
        if let Some(begin) = line.strip_prefix("* ") {
            claims.push(Claim { text: begin.into(), tests: Vec::new() });
        } else if let (Some(line), Some(claim)) = (line.strip_prefix("  "), claims.last_mut()) {
            match line.strip_prefix('`').and_then(|line| line.strip_suffix('`')) {
                Some(test) => claim.tests.push(test.into()),
                None => claim.text.extend([" ", line]),
            }
        }
    }
    claims
}

/// What is wrong with `FILE::TEST`, if anything is.
fn fault(root: &Path, test: &str) -> Option<String> {
    let Some((file, name)) = test.rsplit_once("::") else { return Some(format!("{test}: no FILE::TEST")) };
    let Ok(source) = fs::read_to_string(root.join(file)) else { return Some(format!("{test}: no such file")) };
    let Some(at) = source.find(&format!("fn {name}(")) else { return Some(format!("{test}: no such test")) };
    let before = source[..at].rsplit("\n\n").next().unwrap_or_default();
    // Those of a file of cases are named in its list.
    let is_case = || {
        let list = root.join(file).with_file_name("main.rs");
        fs::read_to_string(list).is_ok_and(|list| list.contains("macro_rules! cases") && list.contains(name))
    };
    if before.contains("#[ignore") {
        return Some(format!("{test}: ignored"));
    }
    (!before.contains("#[test]") && !is_case()).then(|| format!("{test}: a function, and no test"))
}

#[test]
fn each_claim_has_tests_that_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let claims = claims(&fs::read_to_string(root.join("SECURITY.md")).unwrap());
    let without: Vec<_> = claims.iter().filter(|claim| claim.tests.is_empty()).map(|claim| &claim.text).collect();
    assert!(without.is_empty(), "claims without a test: {without:?}");
    let faults: Vec<_> = claims.iter().flat_map(|claim| &claim.tests).filter_map(|test| fault(&root, test)).collect();
    let n_tests: usize = claims.iter().map(|claim| claim.tests.len()).sum();
    println!("{} claims, {n_tests} tests", claims.len());
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(claims.len() > 10, "the claims were not found");
}

/// The test above can fail.
#[test]
fn a_claim_without_a_test_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found =
        claims("# S\n\n## Claims\n\n* Nothing\n  breaks.\n* All is well.\n  `a/b.rs::c`\n\n## Else\n\n* no claim\n");
    assert_eq!(found.iter().map(|claim| claim.tests.len()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(found[0].text, "Nothing breaks.");
    for test in
        ["a/b.rs::c", "crates/proc-core/tests/it/claims.rs::nothing", "crates/proc-core/tests/it/claims.rs::fault"]
    {
        assert!(fault(&root, test).is_some(), "{test}");
    }
    assert_eq!(fault(&root, "crates/proc-core/tests/it/claims.rs::each_claim_has_tests_that_run"), None);
}
