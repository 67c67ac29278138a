//! A strict reader of the text that Prometheus scrapes (format 0.0.4), written from its description:
//! whatever a lenient reader would forgive is a failure here.

use std::collections::{BTreeMap, BTreeSet};

/// A sample's name with its labels, in the order of their names.
pub type Series = (String, BTreeMap<String, String>);

#[derive(Debug, Default)]
pub struct Exposition {
    samples: BTreeMap<Series, f64>,
    /// The kind of each family.
    pub kinds: BTreeMap<String, String>,
}

impl Exposition {
    pub fn parse(text: &str) -> Exposition {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut page = Exposition::default();
        let mut described = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("HELP has a text");
                assert!(!help.is_empty() && described.insert(name.to_owned()), "{line}");
                family = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("TYPE has a kind");
                assert_eq!(name, family, "TYPE stands behind its HELP");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let before = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{line}");
            } else {
                let (series, value) = sample(line);
                page.check_name(&series.0, &family);
                let before = page.samples.insert(series, value);
                assert_eq!(before, None, "twice: {line}");
            }
        }
        page.check_histograms();
        page
    }

    fn check_name(&self, name: &str, family: &str) {
        let kind = self.kinds.get(family).unwrap_or_else(|| panic!("{name} has no TYPE"));
        let fits = match kind.as_str() {
            "counter" => name == family && name.ends_with("_total"),
            "gauge" => name == family,
            _ => ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}")),
        };
        assert!(fits, "{name} stands among the samples of {family}, a {kind}");
    }

    fn check_histograms(&self) {
        let histograms = self.kinds.iter().filter(|(_, kind)| *kind == "histogram");
        for (family, _) in histograms {
            let counts = format!("{family}_count");
            for ((_, labels), count) in self.samples.iter().filter(|((n, _), _)| *n == counts) {
                let mut buckets = self.buckets(family, labels);
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{family}");
                assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{family}");
                let sum = self.samples[&(format!("{family}_sum"), labels.clone())];
                assert!((*count == 0.0) == (sum == 0.0) || sum == 0.0, "{family}");
                let least: f64 =
                    buckets.windows(2).map(|pair| pair[0].0 * (pair[1].1 - pair[0].1)).sum();
                assert!(sum >= least * 0.999, "{family}: {sum} < {least}");
            }
        }
    }

    fn buckets(&self, family: &str, labels: &BTreeMap<String, String>) -> Vec<(f64, f64)> {
        let name = format!("{family}_bucket");
        let mut found = Vec::new();
        for ((_, own), value) in self.samples.iter().filter(|((n, _), _)| *n == name) {
            let mut rest = own.clone();
            let bound = number(&rest.remove("le").expect("a bucket has a bound"));
            if rest == *labels {
                found.push((bound, *value));
            }
        }
        found
    }

    /// The sum of the samples of this name whose labels are (also) these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |own: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| own.get(*key).is_some_and(|v| v == value))
        };
        let mut found =
            self.samples.iter().filter(|((n, own), _)| n == name && has(own)).peekable();
        assert!(found.peek().is_some(), "there is no {name} with {labels:?}");
        found.map(|(_, value)| value).sum()
    }

    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.samples.keys()
    }
}

fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("a sample: {line}"));
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => {
            let (labels, rest) = labels(rest);
            (labels, rest.strip_prefix(' ').unwrap_or_else(|| panic!("a value: {line}")))
        }
        None => (BTreeMap::new(), &rest[1..]),
    };
    ((name.to_owned(), labels), number(value))
}

/// `a="b",c="d"}` and what is behind it.
fn labels(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        let (key, behind) = rest.split_once("=\"").expect("a label has a value");
        assert!(is_name(key) && !key.contains(':'), "{rest}");
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next().expect("a value ends") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    other @ ('\\' | '"') => other,
                    other => panic!("no escape: {other}"),
                }),
                (_, other) => value.push(other),
            }
        };
        assert_eq!(labels.insert(key.to_owned(), value), None, "twice: {key}");
        rest = &behind[end..];
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            _ => panic!("labels end with a brace: {rest}"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        text => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
    }
}
