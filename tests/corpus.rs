//! Replays every file of `fuzz/corpus/` through the body of its fuzz target, on the stable compiler.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> =
        bodies::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in(&corpus()), targets);
}

#[test]
fn every_file_passes() {
    let mut failed = Vec::new();
    for (name, body) in bodies::TARGETS {
        let folder = corpus().join(name);
        let files = names_in(&folder);
        assert!(!files.is_empty(), "{folder:?} is empty");
        for file in files {
            let data = fs::read(folder.join(&file)).unwrap();
            if catch_unwind(|| body(&data)).is_err() {
                failed.push(format!("{name}/{file}"));
            }
        }
    }
    assert_eq!(failed, Vec::<String>::new());
}
