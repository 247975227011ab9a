//! The flagship, on a tree with one of everything, against a count made here.

use std::{
    collections::HashMap,
    fs,
    os::unix::{
        ffi::OsStringExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::output;

struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("wordcount-{}", std::process::id()));
        fs::create_dir_all(root.join("deep/.hidden")).unwrap();
        fs::create_dir(root.join("closed")).unwrap();
        let write = |name: &str, text: &[u8]| fs::write(root.join(name), text).unwrap();
        write("plain.txt", b"One two, TWO three-three\nthree_");
        write("empty", b"");
        write("deep/.hidden/bytes", b"caf\xc3\xa9 \xff\xfe one");
        write("binary", b"one\0two");
        write("late-nul", &[vec![b'x'; 8192], b" \0 one".to_vec()].concat());
        write("large", "lorem IPSUM 42 ".repeat(20_000).as_bytes());
        let odd = std::ffi::OsString::from_vec(b"odd\xff name".to_vec());
        fs::write(root.join(odd), "two").unwrap();
        symlink(root.join("plain.txt"), root.join("link")).unwrap();
        symlink(&root, root.join("deep/loop")).unwrap();
        fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        Self(root)
    }

    fn count(&self) -> (u64, u64, HashMap<String, u64>) {
        let (mut files, mut bytes, mut words) = (0, 0, HashMap::new());
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let text = fs::read(entry.path()).unwrap();
                    if text.iter().take(8192).any(|byte| *byte == 0) {
                        continue;
                    }
                    files += 1;
                    bytes += text.len() as u64;
                    let mut word = Vec::new();
                    for byte in text.into_iter().chain([b' ']) {
                        match byte {
                            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | 0x80.. => word.push(byte.to_ascii_lowercase()),
                            _ if word.is_empty() => {}
                            _ => {
                                *words.entry(String::from_utf8_lossy(&std::mem::take(&mut word)).into()).or_default() +=
                                    1
                            }
                        }
                    }
                }
            }
        }
        (files, bytes, words)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::set_permissions(self.0.join("closed"), fs::Permissions::from_mode(0o700));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn report(dir: &Path, options: &[&str]) -> Value {
    let arguments: Vec<_> = [dir.to_str().unwrap(), "--json", "--top", "1000"].iter().chain(options).copied().collect();
    serde_json::from_str(&output("wordcount", &arguments)).unwrap()
}

#[test]
fn wordcount_equals_an_independent_count() {
    let tree = Tree::new();
    let (files, bytes, words) = tree.count();
    for options in [&["--workers", "1"][..], &["--workers", "3"], &["--threads"], &["--kill-workers", "5"]] {
        let report = report(&tree.0, options);
        assert_eq!((report["files"].as_u64(), report["bytes"].as_u64()), (Some(files), Some(bytes)), "{options:?}");
        assert_eq!(report["words"].as_u64(), Some(words.values().sum()));
        assert_eq!(report["distinct"].as_u64(), Some(words.len() as u64));
        let top = report["top"].as_array().unwrap();
        assert_eq!(top.len(), words.len());
        for pair in top {
            assert_eq!(pair[1].as_u64(), words.get(pair[0].as_str().unwrap()).copied(), "{pair}");
        }
        let skipped = report["skipped"].to_string();
        assert!(skipped.contains("binary"), "{skipped}");
        // Root may look into closed folders.
        assert!(nix::unistd::geteuid().is_root() || skipped.contains("closed"), "{skipped}");
    }
}
