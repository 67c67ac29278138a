//! What an operator is told is so: every metric is in the manual, the dashboard asks for what there is, and
//! what the manual shows of other programs' files is what the tests run.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use loquat::telemetry::{Counter, Gauge, Histogram};

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What is not counted but read when somebody asks, as a scrape shows it.
const READ: [&str; 14] = [
    "loquat_build_info",
    "loquat_draining",
    "loquat_http_requests_total",
    "loquat_journal_bytes",
    "loquat_journal_segments",
    "loquat_log_lines_lost_total",
    "loquat_oldest_turn_seconds",
    "loquat_pages_bytes",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

fn counted() -> BTreeSet<String> {
    let counters = Counter::ALL.iter().map(|it| format!("{}_total", it.family().name));
    let gauges = Gauge::ALL.iter().map(|it| it.family().name.to_owned());
    let histograms = Histogram::ALL.iter().map(|it| it.family().name.to_owned());
    counters.chain(gauges).chain(histograms).collect()
}

#[test]
fn every_metric_is_in_the_manual() {
    let manual = text("docs/operating.md");
    let metrics = counted();
    assert!(metrics.len() > 30);
    for metric in metrics {
        assert!(manual.contains(&format!("`{metric}`")), "docs/operating.md has no {metric}");
    }
}

/// Names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("loquat_") || word.starts_with("process_"))
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&text("packaging/grafana.json")).unwrap();
    let mut known = counted();
    for histogram in Histogram::ALL.iter().map(|it| it.family().name) {
        known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{histogram}{end}")));
    }
    known.extend(READ.map(str::to_owned));
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            for name in names(target["expr"].as_str().unwrap()) {
                assert!(known.contains(name), "{}: there is no {name}", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked > 25, "{asked}");
    let manual = text("docs/operating.md");
    let alerts = manual.lines().filter(|line| line.trim_start().starts_with("expr:"));
    for name in alerts.flat_map(names) {
        assert!(known.contains(name), "an alert asks for {name}");
    }
}

/// The blocks of code of this kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split(&format!("```{kind}\n")).skip(1) {
        found.extend(part.split("```").next().map(str::to_owned));
    }
    found
}

#[test]
fn the_manual_shows_the_files_that_the_tests_run() {
    let manual = text("docs/operating.md");
    let files = [
        ("nginx", "packaging/nginx.conf"),
        ("python", "tests/conformance/django/mysite/loquat.py"),
        ("python", "tests/conformance/django/mysite/settings.py"),
    ];
    for (kind, path) in files {
        let file = text(path);
        let shown = blocks(&manual, kind);
        let part = shown.iter().any(|block| block.len() > 200 && file.contains(block.trim_end()));
        assert!(part, "docs/operating.md does not show {path} as it is");
    }
}

#[test]
fn the_container_may_use_io_uring_and_little_else() {
    let profile: Value = serde_json::from_str(&text("packaging/seccomp.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let mut allowed = BTreeSet::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        if rule["action"] == "SCMP_ACT_ALLOW" {
            let names = rule["names"].as_array().unwrap().iter();
            allowed.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "fdatasync", "execve"] {
        assert!(allowed.contains(call), "{call}");
    }
    for call in ["mount", "unshare", "setns", "ptrace", "bpf", "keyctl", "reboot", "init_module"] {
        assert!(!allowed.contains(call), "{call}");
    }
    let container = text("packaging/Containerfile");
    assert!(container.contains("packaging/seccomp.json"));
}
