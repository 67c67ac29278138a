//! The house rules that a compiler does not keep, read off the sources: who imports whom, where
//! clocks, threads, files, tokio and `unsafe` may be, how long a file may get, what never stays.
//!
//! Strings and comments are blanked out before code is searched, and tests are cut off.

use std::fmt::Write;
use std::path::{Path, PathBuf};

mod tidy {
    pub mod source;
}

use tidy::source::{Source, sources};

const LINES_MAX: usize = 600;
const UNSAFE_FILES_MAX: usize = 2;

/// A module and what of ours it may import.
const IMPORTS: [(&str, &[&str]); 13] = [
    ("limits", &[]),
    ("model", &["limits"]),
    ("telemetry", &["limits", "model"]),
    ("mailbox", &["limits", "model"]),
    ("wire", &["limits", "model"]),
    ("auth", &["limits", "model"]),
    ("chat", &["limits", "model"]),
    ("node", &["limits", "model", "telemetry", "mailbox", "wire", "auth", "chat"]),
    ("store", &["limits", "model", "telemetry", "mailbox", "node"]),
    ("config", &["limits", "model"]),
    (
        "reactor",
        &[
            "limits",
            "model",
            "telemetry",
            "mailbox",
            "wire",
            "auth",
            "chat",
            "node",
            "store",
            "config",
        ],
    ),
    (
        "http",
        &[
            "limits",
            "model",
            "telemetry",
            "mailbox",
            "wire",
            "auth",
            "chat",
            "node",
            "store",
            "config",
        ],
    ),
    (
        "cli",
        &[
            "limits",
            "model",
            "telemetry",
            "mailbox",
            "wire",
            "auth",
            "chat",
            "node",
            "store",
            "config",
            "reactor",
            "http",
        ],
    ),
];

/// Machines: no clock, thread, socket or file.
const PURE: [&str; 5] = ["model", "wire", "auth", "chat", "node"];
const IMPURE: [&str; 7] = [
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::time::Instant",
];
const WITH_TOKIO: [&str; 3] = ["reactor", "http", "cli"];
const EMPTY_NAMES: [&str; 4] = ["utils", "helpers", "common", "manager"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn server() -> Vec<Source> {
    sources(&root(), &["src"], "rs")
}

fn all_rust() -> Vec<Source> {
    sources(&root(), &["src", "tests", "benches", "fuzz", "examples"], "rs")
}

/// Fails with one line per place.
#[track_caller]
fn none(rule: &str, places: Vec<String>) {
    let mut list = String::new();
    for place in &places {
        let _ = write!(list, "\n  {place}");
    }
    assert!(places.is_empty(), "{rule}{list}");
}

/// Places in the code of these sources, tests apart, where a line is found by `wrong`.
fn places(sources: &[Source], wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.code() {
            if wrong(source, line) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

/// The words of a line of code.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn modules_import_only_what_is_below_them() {
    let sources = server();
    assert!(sources.len() > 20, "the sources are not where this test looks");
    let mut found = Vec::new();
    for source in &sources {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == source.module) else {
            let top = ["lib", "main"].contains(&&*source.module);
            found.extend((!top).then(|| format!("{}: a module without a rule", source.path)));
            continue;
        };
        for (number, used) in source.imports() {
            let known = IMPORTS.iter().any(|(name, _)| *name == used);
            if known && used != source.module && !allowed.contains(&&*used) {
                found.push(format!("{}:{number}: {} imports {used}", source.path, source.module));
            }
        }
    }
    none("a module may import only what stands below it in STYLE's list:", found);
}

#[test]
fn machines_have_no_clock_thread_socket_or_file() {
    let wrong = |source: &Source, line: &str| {
        let bare = ["Instant", "SystemTime", "TcpStream", "TcpListener", "UdpSocket", "File"];
        PURE.contains(&&*source.module)
            && (IMPURE.iter().any(|part| line.contains(part))
                || words(line).any(|word| bare.contains(&word)))
    };
    none(
        "model, wire, auth, chat and node get time and bytes as arguments:",
        places(&server(), wrong),
    );
}

#[test]
fn tokio_is_only_around_the_machines() {
    let wrong = |source: &Source, line: &str| {
        let below = !WITH_TOKIO.contains(&&*source.module) && source.module != "main";
        below && words(line).any(|word| ["tokio", "tokio_uring", "axum", "hyper"].contains(&word))
    };
    none("tokio, axum and hyper belong to reactor, http and cli:", places(&server(), wrong));
}

#[test]
fn unsafe_is_in_few_files_and_says_why_it_is_safe() {
    let sources = server();
    let (mut files, mut bare) = (Vec::new(), Vec::new());
    for source in &sources {
        let lines = source.lines_with_word("unsafe");
        if !lines.is_empty() {
            files.push(source.path.clone());
        }
        let unexplained = lines.iter().filter(|number| !source.is_explained(**number, "SAFETY:"));
        bare.extend(unexplained.map(|number| format!("{}:{number}", source.path)));
    }
    none("each unsafe block has a `// SAFETY:` line above it:", bare);
    assert!(
        files.len() <= UNSAFE_FILES_MAX,
        "unsafe in more than {UNSAFE_FILES_MAX} files: {files:?}"
    );
}

#[test]
fn nothing_panics_on_purpose_outside_of_tests() {
    let wrong = |_: &Source, line: &str| {
        let bad = [
            ".unwrap()",
            ".expect(",
            ".unwrap_err()",
            ".expect_err(",
            "dbg!(",
            "todo!(",
            "unimplemented!(",
        ];
        bad.iter().any(|call| line.contains(call))
    };
    none("no unwrap, expect, dbg! or todo! outside of tests:", places(&server(), wrong));
}

#[test]
fn files_have_a_header_and_stay_short() {
    let mut found = Vec::new();
    for source in all_rust() {
        if !source.text.starts_with("//!") && !source.text.starts_with("#!") {
            found.push(format!("{}: does not open with //!", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines, at most {LINES_MAX}", source.path));
        }
    }
    none("a file says what it is and can be read at one go:", found);
}

#[test]
fn names_say_something() {
    let mut found = Vec::new();
    for source in all_rust() {
        let names = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
        let empty = names.filter(|name| EMPTY_NAMES.contains(name));
        found.extend(empty.map(|name| format!("{}: {name}", source.path)));
        for (number, line) in source.code() {
            let name = line.trim().trim_start_matches("pub ").strip_prefix("mod ");
            let name = name.map(|rest| rest.trim_end_matches([';', '{', ' ']));
            if name.is_some_and(|name| EMPTY_NAMES.contains(&name)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("a module is named by what it holds:", found);
}

/// Kinds of files that people read and write.
const TEXTS: [&str; 14] =
    ["rs", "md", "toml", "js", "jsx", "mjs", "ts", "tsx", "css", "html", "py", "sh", "json", "yml"];

fn texts() -> Vec<Source> {
    let folders = [
        "src", "tests", "benches", "fuzz", "examples", "docs", "scripts", "web", ".ci", ".config",
        ".",
    ];
    let mut all = Vec::new();
    for kind in TEXTS {
        all.extend(sources(&root(), &folders, kind));
    }
    // Programs without an extension.
    all.extend(sources(&root(), &["scripts", ".ci"], ""));
    all
}

#[test]
fn nothing_is_left_to_do_and_no_path_is_of_one_machine() {
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"]].map(|parts| parts.concat());
    let paths = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"]].map(|parts| parts.concat());
    let mut found = Vec::new();
    for source in texts() {
        for (at, line) in source.text.lines().enumerate() {
            let left = marks.iter().any(|mark| line.contains(mark.as_str()));
            let local = paths.iter().any(|path| has_absolute(line, path));
            if left || local {
                found.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none("nothing is left to do, and no path is of one machine:", found);
}

/// Whether the line has this path as an absolute one: `https://host/home/` and `a/home/` are not.
fn has_absolute(line: &str, path: &str) -> bool {
    let own = |c: char| c.is_alphanumeric() || ".-_~$}>".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(own))
}

#[test]
fn texts_are_clean() {
    let mut found = Vec::new();
    for source in texts() {
        let mut note = |at: usize, what: &str| found.push(format!("{}:{at}: {what}", source.path));
        for (at, line) in source.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                note(at + 1, "white space at the end of the line");
            }
            let indented = line.split(|c: char| !c.is_whitespace()).next().unwrap_or_default();
            if indented.contains('\t') {
                note(at + 1, "indented by a tab");
            }
            if ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)) {
                note(at + 1, "an unresolved merge");
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            note(source.text.lines().count(), "no line end at the end of the file");
        }
        if source.text.ends_with("\n\n") {
            note(source.text.lines().count(), "empty lines at the end of the file");
        }
        if source.text.starts_with('\u{feff}') {
            note(1, "a byte order mark");
        }
    }
    none("texts are clean:", found);
}

/// Links of the documents to files of the project lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut found = Vec::new();
    for source in sources(&root(), &["docs", "."], "md") {
        let folder = root().join(&source.path);
        let folder = folder.parent().unwrap_or(Path::new(""));
        for (at, line) in source.text.lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let file = link.split('#').next().unwrap_or_default();
                let elsewhere = file.is_empty() || file.contains(':');
                if !elsewhere && !folder.join(file).exists() {
                    found.push(format!("{}:{}: {link}", source.path, at + 1));
                }
            }
        }
    }
    none("links between documents lead somewhere:", found);
}

/// The type and the function around a line: `Ring::push`, or `unsent` outside of an `impl`.
fn place_of(source: &Source, number: usize) -> String {
    let lines: Vec<&str> = source.text.lines().take(number).collect();
    let name = |line: &str, after: &str| {
        let rest = line.split_once(after).map_or("", |(_, rest)| rest);
        words(rest).next().unwrap_or_default().to_owned()
    };
    let function = lines.iter().rposition(|line| words(line).any(|word| word == "fn"));
    let Some(function) = function else { return String::new() };
    let called = name(lines[function], "fn ");
    if !lines[function].starts_with(' ') {
        return called;
    }
    let block = lines.iter().rev().find(|line| line.starts_with("impl")).unwrap_or(&"");
    let after = if block.contains(" for ") { " for " } else { " " };
    format!("{}::{called}", name(block, after))
}

#[test]
fn all_unsafe_code_is_in_the_inventory() {
    let mut used: Vec<String> = Vec::new();
    for source in server() {
        for number in source.lines_with_word("unsafe") {
            used.push(format!("`{}` `{}`", source.path, place_of(&source, number)));
        }
    }
    let text = std::fs::read_to_string(root().join("docs/security.md")).expect("docs/security.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `src/"));
    let mut listed: Vec<String> =
        rows.filter_map(|row| Some(format!("`src/{}", row.split_once(" |")?.0))).collect();
    used.sort();
    listed.sort();
    assert!(!used.is_empty(), "the sources are not where this test looks");
    assert_eq!(used, listed, "left: the sources, right: docs/security.md, one row a block");
}

/// Tests of all sources, as `file::name`.
fn tests_by_name() -> Vec<String> {
    let mut found = Vec::new();
    for source in all_rust() {
        let stem = Path::new(&source.path).file_stem().unwrap_or_default().to_string_lossy();
        let mut is_test = false;
        for line in source.text.lines().map(str::trim) {
            if let Some(name) = line.split_once("fn ").filter(|_| is_test).map(|(_, rest)| rest) {
                found.push(format!("{stem}::{}", words(name).next().unwrap_or_default()));
                is_test = false;
            }
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        }
    }
    found
}

#[test]
fn tests_that_documents_name_exist() {
    let known = tests_by_name();
    assert!(known.len() > 500, "the tests are not where this test looks");
    let mut found = Vec::new();
    for document in ["docs/security.md", "docs/conformance.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect(document);
        let quoted = text.split('`').skip(1).step_by(2);
        let is_name = |name: &&str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
            name.contains("::") && name.chars().all(plain)
        };
        // A path of the standard library or of a crate is not one of ours.
        let foreign = |name: &&str| name.starts_with("ring::") || name.starts_with("hmac::");
        let names: Vec<&str> = quoted.filter(is_name).filter(|name| !foreign(name)).collect();
        assert!(names.len() > 20, "{document} names its tests");
        let missing = names.iter().filter(|name| !known.iter().any(|test| test == *name));
        found.extend(missing.map(|name| format!("{document}: {name}")));
    }
    none("a test that a document names exists:", found);
}
