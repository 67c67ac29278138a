//! Logs: lines for people on a terminal, JSON for machines otherwise, always on stderr.
//!
//! Writing happens on a thread of its own behind a bounded queue. When that is full, lines are
//! lost and counted: a slow terminal or pipe never stops a reactor.

use std::io::{IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Lines that wait for the writing thread.
const LINES_WAITING_MAX: usize = 8_192;
/// The libraries below us log what they handle, which may be a user's: only their warnings.
const LIBRARIES_MAX: LevelFilter = LevelFilter::WARN;

#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error("logging was set up twice")]
    Twice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Human,
    Json,
}

/// The running log. Dropping it writes what still waits, so it lives as long as the program.
#[must_use = "dropping it ends the log"]
pub struct Logs {
    filter: reload::Handle<Targets, Registry>,
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

/// Starts logging to stderr for the whole process.
pub fn init(level: LevelFilter) -> Result<Logs, LogsError> {
    let format = match std::io::stderr().is_terminal() {
        true => Format::Human,
        false => Format::Json,
    };
    let (logs, subscriber) = build(level, format, std::io::stderr());
    // Takes the lines of libraries that use the `log` crate as well.
    subscriber.try_init().map_err(|_| LogsError::Twice)?;
    Ok(logs)
}

impl Logs {
    /// Changes the level under the running program.
    pub fn set_level(&self, level: LevelFilter) {
        // Fails only when the subscriber is gone, and with it all logging.
        let _ = self.filter.reload(targets(level));
    }

    /// Lines that were dropped because the queue was full.
    pub fn lost_lines(&self) -> LostLines {
        LostLines(self.lost.clone())
    }
}

/// Counts the lines that were dropped.
#[derive(Clone)]
pub struct LostLines(ErrorCounter);

impl LostLines {
    pub fn count(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LIBRARIES_MAX)).with_target("loquat", level)
}

/// The subscriber and its handle, writing to `out`.
pub fn build(
    level: LevelFilter,
    format: Format,
    out: impl Write + Send + 'static,
) -> (Logs, impl tracing::Subscriber + Send + Sync) {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING_MAX)
        .lossy(true)
        .thread_name("loquat-log")
        .finish(out);
    let lost = writer.error_counter();
    let (filter, handle) = reload::Layer::new(targets(level));
    let subscriber = Registry::default().with(filter).with(lines(format, writer));
    (Logs { filter: handle, lost, _writer: guard }, subscriber)
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;

fn lines(format: Format, writer: NonBlocking) -> Box<dyn Layer<Filtered> + Send + Sync> {
    match format {
        Format::Human => Box::new(fmt::layer().with_writer(writer).with_target(false)),
        Format::Json => {
            Box::new(fmt::layer().json().flatten_event(true).with_writer(writer).with_ansi(false))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written by `log`, once everything has been.
    fn written(format: Format, log: impl FnOnce(&Logs)) -> String {
        let page = Page::default();
        let (logs, subscriber) = build(LevelFilter::INFO, format, page.clone());
        tracing::subscriber::with_default(subscriber, || log(&logs));
        drop(logs);
        let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_level_changes_under_a_running_log() {
        let page = written(Format::Json, |logs| {
            tracing::debug!("before");
            logs.set_level(LevelFilter::DEBUG);
            tracing::debug!("after");
            logs.set_level(LevelFilter::ERROR);
            tracing::info!("too quiet");
        });
        let messages: Vec<String> = page
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(messages, ["after"]);
    }

    #[test]
    fn libraries_are_heard_from_warnings_on() {
        let page = written(Format::Human, |logs| {
            logs.set_level(LevelFilter::TRACE);
            tracing::info!(target: "sled::tree", "a page");
            tracing::warn!(target: "sled::tree", "a torn page");
            tracing::trace!("ours");
        });
        assert_eq!(page.lines().count(), 2, "{page}");
        assert!(page.contains("a torn page") && page.contains("ours"), "{page}");
    }

    #[test]
    fn a_stuck_writer_loses_lines_and_blocks_nobody() {
        struct Stuck(crossbeam_channel::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                // Returns once the test lets go of the other end.
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = crossbeam_channel::bounded(0);
        let (logs, subscriber) = build(LevelFilter::INFO, Format::Json, Stuck(stuck));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..LINES_WAITING_MAX + 100 {
                tracing::info!("a line");
            }
        });
        // The writer may have taken one line out of the queue before it got stuck.
        let lost = logs.lost_lines().count();
        assert!((99..=100).contains(&lost), "{lost}");
        drop(release);
    }
}
