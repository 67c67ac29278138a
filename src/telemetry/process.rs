//! What the kernel says of this process, under the names that Prometheus has for it. What cannot be
//! read is left out.

use std::fs;

use super::exposition::{Kind, Reading};

/// The kernel's unit of CPU time: the same on all of today's Linux.
const TICKS_PER_S: f64 = 100.0;

fn reading(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: Option<f64>,
) -> Option<Reading> {
    value.map(|value| Reading { name, help, kind, label: None, value })
}

pub fn readings() -> Vec<Reading> {
    let stat = Stat::read();
    let stat = stat.as_ref();
    let all = [
        reading(
            "process_cpu_seconds",
            "User and system time that was used.",
            Kind::Counter,
            stat.map(|stat| stat.cpu_s),
        ),
        reading(
            "process_start_time_seconds",
            "When the process began, in seconds since the Unix epoch.",
            Kind::Gauge,
            stat.and_then(|stat| Some(boot_time_s()? + stat.started_s)),
        ),
        reading("process_threads", "Threads.", Kind::Gauge, stat.map(|stat| stat.threads)),
        reading(
            "process_resident_memory_bytes",
            "Memory in use.",
            Kind::Gauge,
            kib_of("/proc/self/status", "VmRSS:"),
        ),
        reading(
            "process_open_fds",
            "File descriptors that are open.",
            Kind::Gauge,
            fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as f64),
        ),
        reading(
            "process_max_fds",
            "File descriptors that may be open.",
            Kind::Gauge,
            rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map(|most| most as f64),
        ),
    ];
    all.into_iter().flatten().collect()
}

/// Of `/proc/self/stat` (proc_pid_stat(5)).
struct Stat {
    cpu_s: f64,
    threads: f64,
    started_s: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything: fields are counted from behind it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // Numbered from 1 in the manual; what is behind the name begins with the third.
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_s: (number(14)? + number(15)?) / TICKS_PER_S,
            threads: number(20)?,
            started_s: number(22)? / TICKS_PER_S,
        })
    }
}

fn boot_time_s() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// A value in KiB of a file with lines like `Name:   123 kB`, in bytes.
fn kib_of(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = value.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn this_process_is_described() {
        let readings = readings();
        let value = |name: &str| {
            let found = readings.iter().find(|reading| reading.name == name);
            found.unwrap_or_else(|| panic!("{name}: {readings:?}")).value
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds") >= 0.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_open_fds") <= value("process_max_fds"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-1.5..3_600.0).contains(&age), "{age}");
    }
}
