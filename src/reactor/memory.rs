//! How much memory the process uses, and how much it may.

use std::fs;

/// The limit in bytes: the control group's, where one is set, or the machine's memory.
pub fn limit_bytes() -> u64 {
    let group = own_group().and_then(|group| {
        let path = format!("/sys/fs/cgroup{}/memory.max", group.trim_end_matches('/'));
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    });
    let machine = field("/proc/meminfo", "MemTotal:").map(|kib| kib * 1024);
    let limits = [group, machine];
    limits.into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// Resident bytes that are the process's own, as the kernel counts them now.
pub fn used_bytes() -> Option<u64> {
    field("/proc/self/status", "RssAnon:").map(|kib| kib * 1024)
}

/// The process's group in the unified hierarchy (cgroups(7)).
fn own_group() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// A value in KiB of a file with lines like `Name:   123 kB`.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().trim_end_matches(" kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_of_what_it_may() {
        let used = used_bytes().expect("Linux has /proc");
        assert!(used > 0 && used < limit_bytes());
    }
}
