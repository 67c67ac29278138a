//! The view on a terminal, and the same as plain text.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};

use super::super::progress::size;
use super::view::{Shard, View};

const COLUMNS: [&str; 9] =
    ["shard", "sockets", "rooms", "frames/s", "deliv./s", "turns/s", "unsent", "slow", "unsynced"];

pub fn draw(frame: &mut Frame<'_>, view: &View, title: &str) {
    let facts = facts(view);
    let warnings = view.warnings.len().max(1) as u16;
    let parts = Layout::vertical([
        Constraint::Length(facts.len() as u16 + 2),
        Constraint::Length(warnings),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [above, middle, below, foot] = parts.areas(frame.area());
    let title = Line::from(format!(" loquat {} on {title} ", view.version)).bold();
    let lines: Vec<Line<'_>> = facts.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), above);
    let sentences: Vec<Line<'_>> = match view.warnings.is_empty() {
        true => vec![Line::from(" all well").green()],
        false => view.warnings.iter().map(|it| Line::from(format!(" ! {it}")).red()).collect(),
    };
    frame.render_widget(Paragraph::new(sentences), middle);
    frame.render_widget(table(&view.shards), below);
    frame.render_widget(Line::from(" q ends").dim(), foot);
}

fn table(shards: &[Shard]) -> Table<'_> {
    let rows = shards.iter().map(|shard| {
        let row = Row::new(cells(shard).map(Cell::from));
        if shard.catching_up > 0.0 { row.style(Style::new().yellow()) } else { row }
    });
    let header = Row::new(COLUMNS).style(Style::new().bold());
    Table::new(rows, COLUMNS.map(|_| Constraint::Fill(1)))
        .header(header)
        .block(Block::bordered().title(" shards "))
}

fn cells(shard: &Shard) -> [String; 9] {
    [
        shard.name.clone(),
        count(shard.sockets),
        count(shard.conversations),
        count(shard.commands_per_s),
        count(shard.deliveries_per_s),
        count(shard.turns_per_s),
        bytes(shard.outbox_bytes),
        count(shard.catching_up),
        count(shard.waiting_for_log),
    ]
}

/// What stands above the shards.
fn facts(view: &View) -> Vec<String> {
    let View { commits, slow, store, descriptors, .. } = view;
    vec![
        format!(
            "process   up {}, {:.2} cores, {} resident, {} of {} descriptors",
            duration(view.uptime_s),
            view.cpu,
            bytes(view.resident_bytes),
            count(descriptors.0),
            count(descriptors.1)
        ),
        format!(
            "sockets   {} in {} conversations, {}/s come, {}/s go",
            count(view.sockets),
            count(view.conversations),
            count(view.opened_per_s),
            count(view.closed_per_s)
        ),
        format!(
            "messages  {}/s, {} frames/s in, {} deliveries/s, {} refused/s",
            count(view.messages_per_s),
            count(view.commands_per_s),
            count(view.deliveries_per_s),
            count(view.refusals_per_s)
        ),
        format!(
            "network   {}/s in, {}/s out",
            bytes(view.received_bytes_per_s),
            bytes(view.sent_bytes_per_s)
        ),
        format!(
            "commits   {}/s of {:.1} records, half within {}, 99 % within {}",
            count(commits.per_s),
            commits.records,
            time(commits.p50_s),
            time(commits.p99_s)
        ),
        format!(
            "slow      {} catch up ({}/s began, {}/s closed); {} unsent, {} on one socket",
            count(slow.catching_up),
            count(slow.began_per_s),
            count(slow.closed_per_s),
            bytes(slow.outbox_bytes),
            bytes(slow.largest_bytes)
        ),
        format!(
            "store     {} pages, {} journal, {} segments wait; {} free",
            bytes(store.pages_bytes),
            bytes(store.journal_bytes),
            count(store.segments_waiting),
            bytes(store.free_bytes)
        ),
    ]
}

/// Everything as plain text, for scripts.
pub fn plain(view: &View) -> String {
    let mut text = format!("loquat    {}\n", view.version);
    for fact in facts(view) {
        text += &fact;
        text.push('\n');
    }
    for warning in &view.warnings {
        text += &format!("warning   {warning}\n");
    }
    let row = |cells: &[String; 9]| {
        let padded: Vec<String> = cells.iter().map(|cell| format!("{cell:<10}")).collect();
        format!("{}\n", padded.concat().trim_end())
    };
    text += &row(&COLUMNS.map(str::to_owned));
    for shard in &view.shards {
        text += &row(&cells(shard));
    }
    text
}

fn count(number: f64) -> String {
    match number {
        number if number >= 10_000_000.0 => format!("{:.1}M", number / 1_000_000.0),
        number if number >= 10_000.0 => format!("{:.1}k", number / 1_000.0),
        number if number.fract() != 0.0 && number < 100.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
}

fn bytes(number: f64) -> String {
    size(number.max(0.0) as u64)
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.is_infinite() => "more than 5 s".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.0} s"),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::top::view::{Commits, Slow};

    fn view() -> View {
        View {
            version: "0.1.0".to_owned(),
            uptime_s: 90_061.0,
            sockets: 12_345.0,
            deliveries_per_s: 250.5,
            commits: Commits { per_s: 40.0, records: 12.3, p50_s: Some(0.0005), p99_s: Some(0.01) },
            slow: Slow { catching_up: 2.0, ..Slow::default() },
            shards: vec![
                Shard { name: "0".to_owned(), sockets: 12_000.0, ..Shard::default() },
                Shard { name: "1".to_owned(), catching_up: 2.0, ..Shard::default() },
            ],
            warnings: vec!["the disk is slow".to_owned()],
            ..View::default()
        }
    }

    fn drawn(width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &view(), "127.0.0.1:8001")).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_stands_on_an_ordinary_terminal() {
        let screen = drawn(100, 24);
        let parts = [
            "loquat 0.1.0 on 127.0.0.1:8001",
            "up 1 d 1 h",
            "12.3k in",
            "half within 500 µs, 99 % within 10 ms",
            "2 catch up",
            "! the disk is slow",
            "deliv./s",
            "12.0k",
            "q ends",
        ];
        for part in parts {
            assert!(screen.contains(part), "{part:?} is not on:\n{screen}");
        }
    }

    #[test]
    fn a_terminal_that_is_too_small_does_no_harm() {
        for (width, height) in [(1, 1), (10, 3), (300, 5)] {
            drawn(width, height);
        }
    }

    #[test]
    fn the_plain_text_has_a_line_for_each_shard_and_warning() {
        let text = plain(&view());
        assert!(text.starts_with("loquat    0.1.0\nprocess   up 1 d 1 h"), "{text}");
        assert!(text.contains("\nwarning   the disk is slow\nshard     sockets"), "{text}");
        assert!(text.contains("\n0         12.0k"), "{text}");
        assert!(!text.contains('\u{1b}') && text.lines().count() == 12, "{text}");
    }
}
