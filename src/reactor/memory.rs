//! How much memory the process uses, and how much it may.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The limit in bytes: the control group's or that of one around it, the machine's memory, or `own` (0: none),
/// whichever is least.
pub fn limit_bytes(own: u64) -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().filter_map(group_limit).min();
    let machine = field("/proc/meminfo", "MemTotal:").map(|kib| kib * 1024);
    let own = (own > 0).then_some(own);
    [group, machine, own].into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// What the kernel counts of this process's memory. `/proc/self/status` says the same, for ten times the
/// work: it is written anew at each reading.
pub struct Usage(File);

impl Usage {
    pub fn open() -> io::Result<Usage> {
        File::open("/proc/self/statm").map(Usage)
    }

    /// Resident bytes that are the process's own.
    pub fn bytes(&self) -> Option<u64> {
        let mut line = [0; 128];
        let length = self.0.read_at(&mut line, 0).ok()?;
        let text = str::from_utf8(&line[..length]).ok()?;
        own_pages(text).map(|pages| pages * rustix::param::page_size() as u64)
    }
}

/// Of a line of `/proc/PID/statm` (proc_pid_statm(5)): all that is resident, without files and shared memory.
fn own_pages(line: &str) -> Option<u64> {
    let mut fields = line.split(' ').map(|field| field.parse::<u64>().ok());
    let (_size, resident, shared) = (fields.next()??, fields.next()??, fields.next()??);
    Some(resident.saturating_sub(shared))
}

/// What a line of `/proc/self/cgroup` (cgroups(7)) limits memory to: the unified hierarchy, or the first
/// version's one for memory.
fn group_limit(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, group) = rest.split_once(':')?;
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // In a container the group may be named as the host sees it: what is not there is passed over.
    let limit = |group: &Path| {
        let path = Path::new(root).join(group).join(file);
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    Path::new(group.trim_start_matches('/')).ancestors().filter_map(limit).min()
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
        let used = Usage::open().unwrap().bytes().expect("Linux has /proc");
        assert!(used > 0 && used < limit_bytes(0));
        assert_eq!(limit_bytes(1 << 20), 1 << 20);
    }

    #[test]
    fn usage_follows_what_is_touched() {
        let usage = Usage::open().unwrap();
        let before = usage.bytes().unwrap();
        let touched = vec![1_u8; 64 << 20];
        let gained = usage.bytes().unwrap().saturating_sub(before);
        // Other tests run beside this one.
        assert!(gained > touched.len() as u64 / 2, "{gained}");
    }

    #[test]
    fn own_pages_are_neither_files_nor_shared() {
        assert_eq!(own_pages("7000 600 100 20 0 500 0\n"), Some(500));
        for line in ["", "7000", "7000 600", "7000 -1 100", "a b c"] {
            assert_eq!(own_pages(line), None, "{line}");
        }
    }

    #[test]
    fn other_controllers_and_groups_that_are_not_there_limit_nothing() {
        for line in ["", "3:cpuset:/", "4:memory", "junk"] {
            assert_eq!(group_limit(line), None, "{line}");
        }
        let (here, gone) = (group_limit("0::/"), group_limit("0::/no/such/group"));
        assert_eq!(here, gone, "the root counts for both");
    }
}
