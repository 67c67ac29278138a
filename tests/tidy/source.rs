//! A source file as the rules look at it: its code without comments, texts and tests.

use std::path::Path;

pub struct Source {
    /// From the project's root, with `/`.
    pub path: String,
    /// The top module: `src/wire/frame.rs` → `wire`, `src/limits.rs` → `limits`.
    pub module: String,
    pub text: String,
    /// The text with comments and string contents blanked out, line by line.
    blank: Vec<String>,
    /// The first line of the file's tests, counted from 0.
    tests_from: usize,
}

/// All files with this extension below these folders, `.` meaning the root without its folders.
pub fn sources(root: &Path, folders: &[&str], extension: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), *folder != ".", extension, &mut paths);
    }
    paths.sort();
    paths.dedup();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).ok()?;
        let path = path.strip_prefix(root).unwrap_or(path);
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let parts: Vec<_> = parts.into_iter().filter(|part| part != ".").collect();
        Some(Source::new(parts.join("/"), text))
    };
    let mut all: Vec<Source> = paths.iter().filter_map(read).collect();
    let only_tests: Vec<String> = all.iter().flat_map(Source::test_modules).collect();
    for source in &mut all {
        let folder = |stem: &String| source.path.starts_with(&format!("{stem}/"));
        if only_tests.iter().any(|stem| source.path == format!("{stem}.rs") || folder(stem)) {
            source.tests_from = 0;
        }
    }
    all
}

/// Made by tools or brought by others: not ours to tidy.
const FOREIGN: [&str; 9] = [
    "target",
    "node_modules",
    "corpus",
    "artifacts",
    "dist",
    "coverage",
    "reports",
    "fixtures",
    ".venv",
];

fn collect(folder: &Path, deep: bool, extension: &str, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if deep && !FOREIGN.contains(&&*name) {
                collect(&path, deep, extension, into);
            }
        } else if path.extension().unwrap_or_default() == extension && name != "package-lock.json" {
            into.push(path);
        }
    }
}

impl Source {
    fn new(path: String, text: String) -> Source {
        let blank: Vec<String> = if path.ends_with(".rs") { blanked(&text) } else { Vec::new() };
        let is_test_file = ["tests.rs", "_tests.rs"].iter().any(|end| path.ends_with(end));
        let starts = |line: &String| line.trim_start().starts_with("#[cfg(test)]");
        let tests_from = match is_test_file {
            true => 0,
            // Only where a module follows: single items for tests stand among the code.
            false => (0..blank.len())
                .find(|&at| starts(&blank[at]) && opens_tests(&blank[at + 1..]))
                .unwrap_or(blank.len()),
        };
        let mut parts = path.split('/').skip(1);
        let module = parts.next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        Source { path, module, text, blank, tests_from }
    }

    /// Line numbers and lines of what is not a test, without comments and texts.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.blank.iter().take(self.tests_from).enumerate();
        code.map(|(at, line)| (at + 1, line.as_str()))
    }

    /// Files that are modules for tests only, without their `.rs`: `#[cfg(test)] mod stand_in;`.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.trim_end_matches("mod.rs").trim_end_matches(".rs") {
            "src/lib" | "src/main" => "src",
            other => other.trim_end_matches('/'),
        };
        let lines = self.blank.iter().map(|line| line.trim());
        let mut found = Vec::new();
        let mut for_tests = false;
        for line in lines {
            let name = line.trim_start_matches("pub ").strip_prefix("mod ");
            if let (true, Some(name)) = (for_tests, name.and_then(|rest| rest.strip_suffix(';'))) {
                found.push(format!("{folder}/{name}"));
            }
            for_tests = line == "#[cfg(test)]" || (for_tests && line.starts_with("#["));
        }
        found
    }

    /// Modules of this crate that the code names: `crate::wire::…`, `use crate::{wire, chat::x}`.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let code: Vec<(usize, &str)> = self.code().collect();
        let joined: String = code.iter().flat_map(|(_, line)| [*line, "\n"]).collect();
        for marker in ["crate::", "loquat::"] {
            for (at, _) in joined.match_indices(marker) {
                let number = joined[..at].matches('\n').count() + 1;
                let names = first_names(&joined[at + marker.len()..]);
                found.extend(names.into_iter().map(|name| (number, name)));
            }
        }
        found
    }

    /// Numbers of the lines whose code has this word.
    pub fn lines_with_word(&self, word: &str) -> Vec<usize> {
        let is_word = |c: char| !c.is_alphanumeric() && c != '_';
        let has = |line: &String| line.split(is_word).any(|part| part == word);
        let lines = self.blank.iter().enumerate().filter(|(_, line)| has(line));
        lines.map(|(at, _)| at + 1).collect()
    }

    /// Whether this line, or the comment right above its statement, has the marker.
    pub fn is_explained(&self, number: usize, marker: &str) -> bool {
        const NEAR: usize = 6;
        let from = number.saturating_sub(NEAR + 1);
        self.text.lines().take(number).skip(from).any(|line| line.contains(marker))
    }
}

/// The attribute is on a module, maybe under more attributes.
fn opens_tests(rest: &[String]) -> bool {
    let code = rest
        .iter()
        .map(|line| line.trim())
        .find(|line| !line.is_empty() && !line.starts_with("#["));
    code.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
}

/// `wire::x` → wire; `{wire, chat::{a, b}}` → wire, chat.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(list) = path.trim_start().strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut part) = (1, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            names.extend(Some(name(part.trim())).filter(|name| !name.is_empty()));
            part.clear();
        } else {
            part.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Where the scanner is.
enum Place {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    /// Ends with a quote and so many hashes.
    RawText(usize),
}

/// Each line without what comments and texts say. Character literals of a quote are known.
fn blanked(text: &str) -> Vec<String> {
    let mut scanner = Scanner { place: Place::Code, out: String::with_capacity(text.len()) };
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        at += scanner.step(&chars, at);
    }
    scanner.out.lines().map(str::to_owned).collect()
}

struct Scanner {
    place: Place,
    out: String,
}

impl Scanner {
    /// Takes some characters from `at` on, and says how many.
    fn step(&mut self, chars: &[char], at: usize) -> usize {
        let (c, next) = (chars[at], chars.get(at + 1).copied());
        if c == '\n' {
            self.out.push('\n');
            if matches!(self.place, Place::LineComment) {
                self.place = Place::Code;
            }
            return 1;
        }
        match self.place {
            Place::Code => self.code(chars, at),
            Place::LineComment => 1,
            Place::BlockComment(depth) => self.block_comment(depth, (c, next)),
            Place::Text => match c {
                '\\' if next != Some('\n') => 2,
                '"' => self.end_text(),
                _ => 1,
            },
            Place::RawText(hashes) => {
                let closes = c == '"' && (1..=hashes).all(|n| chars.get(at + n) == Some(&'#'));
                if closes { self.end_text() + hashes } else { 1 }
            }
        }
    }

    fn end_text(&mut self) -> usize {
        self.out.push('"');
        self.place = Place::Code;
        1
    }

    fn block_comment(&mut self, depth: usize, pair: (char, Option<char>)) -> usize {
        match pair {
            ('*', Some('/')) if depth == 1 => self.place = Place::Code,
            ('*', Some('/')) => self.place = Place::BlockComment(depth - 1),
            ('/', Some('*')) => self.place = Place::BlockComment(depth + 1),
            _ => return 1,
        }
        2
    }

    fn code(&mut self, chars: &[char], at: usize) -> usize {
        let rest = &chars[at..];
        match (rest[0], rest.get(1)) {
            ('/', Some('/')) => self.place = Place::LineComment,
            ('/', Some('*')) => self.place = Place::BlockComment(1),
            ('"', _) => {
                self.out.push('"');
                self.place = Place::Text;
                return 1;
            }
            ('r', Some('"' | '#')) if !in_word(chars, at) => return self.raw_text(rest),
            ('\'', _) => return self.quote(rest),
            (c, _) => {
                self.out.push(c);
                return 1;
            }
        }
        2
    }

    fn raw_text(&mut self, rest: &[char]) -> usize {
        let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
        if rest.get(hashes + 1) == Some(&'"') {
            self.place = Place::RawText(hashes);
            self.out.push('"');
            return hashes + 2;
        }
        self.out.push('r');
        1
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self, rest: &[char]) -> usize {
        let length = match rest.get(1) {
            Some('\\') => rest.iter().skip(3).position(|c| *c == '\'').map(|n| n + 4),
            _ => (rest.get(2) == Some(&'\'')).then_some(3),
        };
        self.out.push('\'');
        length.unwrap_or(1)
    }
}

/// Whether the character continues a word: the `r` of `for` opens no raw text. `br"…"` does.
fn in_word(chars: &[char], at: usize) -> bool {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let before = at.checked_sub(1).and_then(|n| chars.get(n));
    let byte_text = before == Some(&'b') && at.checked_sub(2).is_none_or(|n| !is_word(&chars[n]));
    !byte_text && before.is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path.to_owned(), text.to_owned())
    }

    #[test]
    fn comments_and_texts_are_not_code() {
        let check = |text: &str, blank: &str| assert_eq!(blanked(text).join("\n"), blank, "{text}");
        check("a // b", "a ");
        check("a /* b /* c */ d */ e", "a  e");
        check(r#"f("x.unwrap()") + 1"#, r#"f("") + 1"#);
        check(r#"f("\"x") + 1"#, r#"f("") + 1"#);
        check(r##"f(r#"a " b"#) + 1"##, r#"f("") + 1"#);
        check(r##"f(br#"a " b"#) + 1"##, r#"f(b"") + 1"#);
        check("for x in '\"'.. { 'a: loop }", "for x in '.. { 'a: loop }");
        check(r"'\'' + '\u{1}' + b", "' + ' + b");
        check("\"a\nb\" c", "\"\n\" c");
    }

    #[test]
    fn tests_are_not_code() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nfn b() {}\nfn c() {}\n#[cfg(test)]\nmod tests {\nfn d() {}\n}\n";
        let code: String = source("src/wire/x.rs", text).code().map(|(_, line)| line).collect();
        assert!(code.contains("fn c") && !code.contains("fn d"), "{code}");
        assert_eq!(source("src/wire/decode_tests.rs", text).code().count(), 0);
    }

    #[test]
    fn imports_are_found_in_all_their_forms() {
        let text = "use crate::wire::x;\nuse crate::{\n  auth,\n  chat::{a, node},\n};\nfn f(_: crate::store::S) {}\n// crate::http\n";
        let found = source("src/cli/x.rs", text).imports();
        let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["wire", "auth", "chat", "store"]);
        assert_eq!(found[3].0, 6);
    }

    #[test]
    fn a_module_for_tests_only_is_known() {
        let text = "mod a;\n#[cfg(test)]\nmod stand_in;\n#[cfg(test)]\nmod tests {}\nmod b;\n";
        assert_eq!(source("src/http/mod.rs", text).test_modules(), ["src/http/stand_in"]);
        assert_eq!(
            source("src/wire/session.rs", text).test_modules(),
            ["src/wire/session/stand_in"]
        );
    }

    #[test]
    fn a_file_knows_its_module() {
        assert_eq!(source("src/limits.rs", "").module, "limits");
        assert_eq!(source("src/wire/json/mod.rs", "").module, "wire");
    }
}
