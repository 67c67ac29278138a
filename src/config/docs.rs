//! The table of settings as Markdown, for docs/operating.md.

use std::fmt::Write;

use super::table::{Applies, Entry, Group, entries};

/// One table per group. A test compares it with the page.
pub fn markdown() -> String {
    let mut page = String::new();
    for group in Group::ALL {
        let title = group.title();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "### {title}\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n"
        );
        for entry in entries().filter(|entry| entry.group == group) {
            page.push_str(&row(entry));
        }
        page.push('\n');
    }
    page
}

fn row(entry: &Entry) -> String {
    let reload = match entry.applies {
        Applies::Reload => " ↻",
        Applies::Restart => "",
    };
    let allowed = entry.shape.allowed().replace('|', "\\|");
    let default = entry.default_text();
    format!("| `{}`{reload} | {default} | {allowed} | {} |\n", entry.key, entry.about)
}
