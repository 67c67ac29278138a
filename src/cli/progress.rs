//! A line on stderr that says how far long work is: on a terminal at once, written over, and gone at the end;
//! elsewhere a new one now and then.

use std::io::{IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(5);
const CLEAR_LINE: &str = "\r\x1b[K";

pub struct Progress<W: Write = Stderr> {
    /// What is being done: "reading".
    doing: &'static str,
    is_terminal: bool,
    pause: Duration,
    told: Option<Instant>,
    is_open: bool,
    to: W,
}

impl Progress {
    pub fn new(doing: &'static str) -> Progress {
        let stderr = std::io::stderr();
        match stderr.is_terminal() {
            true => Progress::over(doing, stderr, ON_TERMINAL),
            false => Progress::beside(doing, stderr, ELSEWHERE),
        }
    }
}

impl<W: Write> Progress<W> {
    /// For a terminal: the first word is told at once.
    fn over(doing: &'static str, to: W, pause: Duration) -> Progress<W> {
        Progress { doing, is_terminal: true, pause, told: None, is_open: false, to }
    }

    /// Short work is not spoken of.
    fn beside(doing: &'static str, to: W, pause: Duration) -> Progress<W> {
        let told = Some(Instant::now());
        Progress { doing, is_terminal: false, pause, told, is_open: false, to }
    }

    /// From here on something else is being done.
    pub fn turn_to(&mut self, doing: &'static str) {
        self.doing = doing;
    }

    /// `what` is only put together when it is time for a line.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told.is_some_and(|told| told.elapsed() < self.pause) {
            return;
        }
        self.told = Some(Instant::now());
        let (doing, what) = (self.doing, what());
        // A closed stderr is no reason to stop.
        let _ = if self.is_terminal {
            self.is_open = true;
            write!(self.to, "{CLEAR_LINE}{doing}: {what}").and_then(|()| self.to.flush())
        } else {
            writeln!(self.to, "{doing}: {what}")
        };
    }

    /// The line makes room for what comes next.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = write!(self.to, "{CLEAR_LINE}").and_then(|()| self.to.flush());
        }
    }
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::MAX;

    /// What is written about three steps, of which the last is of another kind.
    fn told(mut progress: Progress<Vec<u8>>) -> String {
        progress.tell(|| "1".to_owned());
        progress.tell(|| "2".to_owned());
        progress.turn_to("writing");
        progress.tell(|| "3".to_owned());
        progress.end();
        progress.end();
        String::from_utf8(progress.to).unwrap()
    }

    #[test]
    fn a_terminal_has_one_line_that_goes_at_the_end() {
        let check = |pause, expected: &str| {
            let told = told(Progress::over("reading", Vec::new(), pause));
            assert_eq!(told.replace(CLEAR_LINE, "|"), expected);
        };
        check(Duration::ZERO, "|reading: 1|reading: 2|writing: 3|");
        check(NEVER, "|reading: 1|");
    }

    #[test]
    fn elsewhere_there_is_a_line_now_and_then_and_none_about_short_work() {
        let check = |pause, expected: &str| {
            assert_eq!(told(Progress::beside("reading", Vec::new(), pause)), expected);
        };
        check(Duration::ZERO, "reading: 1\nreading: 2\nwriting: 3\n");
        check(NEVER, "");
    }

    #[test]
    fn nothing_is_put_together_when_it_is_not_time() {
        let mut progress = Progress::beside("reading", Vec::new(), NEVER);
        progress.tell(|| unreachable!("it is not time"));
    }

    #[test]
    fn sizes_are_short() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 bytes");
        check(1_023, "1023 bytes");
        check(1_536, "1.5 KiB");
        check(5 << 30, "5.0 GiB");
    }
}
