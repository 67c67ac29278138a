//! Which core runs what: the server has the first one that this process may use, the generator the last.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    Server,
    Generator,
}

/// Runs `start` on `core`; children inherit the core. Afterwards this thread is on the generator's.
pub fn on_core<T>(core: Core, start: impl FnOnce() -> T) -> T {
    pin(core);
    let started = start();
    pin(Core::Generator);
    started
}

/// Whether the two have a core each.
pub fn are_apart() -> bool {
    cores().len() > 1
}

fn pin(core: Core) {
    let cores = cores();
    let chosen = match core {
        Core::Server => cores.first(),
        Core::Generator => cores.last(),
    };
    let mut set = CpuSet::new();
    set.set(chosen.copied().unwrap_or(0));
    // Where pinning is forbidden, the kernel places both; the report says what was asked for.
    let _ = sched_setaffinity(None, &set);
}

/// Those that the process was given; read once, before anything is pinned.
fn cores() -> Vec<usize> {
    static CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let read = || {
        let allowed = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect()
    };
    CORES.get_or_init(read).clone()
}
