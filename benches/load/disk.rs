//! What the disk takes for one small commit, without any server: no server that syncs each message before it is
//! shown can be quicker. Machines differ in it more than in anything else.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::fail::{Context, Fail};
use crate::outcome::Reading;
use crate::pinning::{Core, on_core};

/// About what a message takes in the journal.
const COMMIT_BYTES: usize = 300;
/// Written before, as a segment's bytes are.
const FILE_BYTES: usize = 4 << 20;

/// Writes and fdatasyncs at fixed times from the server's core, into a file in `folder`.
pub fn measure(folder: &Path, per_second: f64, how_long: Duration) -> Result<Vec<Reading>, Fail> {
    let path = folder.join("disk");
    let open = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
    let file = open.context("making a file for the disk's own times")?;
    file.write_all_at(&vec![0; FILE_BYTES], 0).context("filling a file")?;
    file.sync_all().context("syncing a file")?;
    let mut took = Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3)
        .map_err(|error| Fail::new(format!("a histogram: {error}")))?;
    let commits = (per_second * how_long.as_secs_f64()) as usize;
    on_core(Core::Server, || {
        let begun = Instant::now();
        for number in 0..commits {
            let due = Duration::from_secs_f64(number as f64 / per_second);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let at = number * COMMIT_BYTES % (FILE_BYTES - COMMIT_BYTES);
            let from = Instant::now();
            file.write_all_at(&[1; COMMIT_BYTES], at as u64)?;
            file.sync_data()?;
            took.saturating_record(from.elapsed().as_nanos() as u64);
        }
        std::io::Result::Ok(())
    })
    .context("writing and syncing")?;
    std::fs::remove_file(&path).context("removing a file")?;
    let at =
        |name, quantile| Reading::new(name, "ms", took.value_at_quantile(quantile) as f64 / 1e6);
    Ok(vec![at("write and sync p50", 0.5), at("write and sync p99", 0.99)])
}
