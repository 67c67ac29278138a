//! A line on stderr that says how far long work is: written over on a terminal, a new one now and then
//! elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::say;

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(5);

pub struct Progress {
    /// What is being done: "reading".
    doing: &'static str,
    is_terminal: bool,
    told: Instant,
    is_open: bool,
}

impl Progress {
    pub fn new(doing: &'static str) -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress { doing, is_terminal, told: Instant::now(), is_open: false }
    }

    /// `what` is only put together when it is time for a line.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let pause = if self.is_terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        let (doing, what) = (self.doing, what());
        if self.is_terminal {
            self.is_open = true;
            // A closed stderr is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[K{doing}: {what}");
        } else {
            say(&format!("{doing}: {what}"));
        }
    }

    pub fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let _ = writeln!(std::io::stderr());
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
    use super::size;

    #[test]
    fn sizes_are_short() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 bytes");
        check(1_023, "1023 bytes");
        check(1_536, "1.5 KiB");
        check(5 << 30, "5.0 GiB");
    }
}
