//! The disk that a simulated journal lies on: named files, what of them is in caches only, and what a
//! crash leaves.
//!
//! ```text
//! write ──► cached (dirty) ──sync──► on disk
//!                └──a sync that fails──► ghost: read as written, on no disk, and no later sync's
//! ```
//! - The process dies: caches stay; a ghost may be read as written or as it is on disk.
//! - Power fails: of what is dirty each sector is as written or as it was; of names that were given,
//!   taken or removed since the directory was synced, each is as before or as now.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
struct File {
    cached: Vec<u8>,
    disk: Vec<u8>,
    dirty: BTreeSet<usize>,
    ghosts: BTreeSet<usize>,
    length_is_dirty: bool,
}

#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<u64, File>,
    next: u64,
    /// Names as they are now, and as they are on disk.
    names: BTreeMap<String, u64>,
    names_on_disk: BTreeMap<String, u64>,
    /// Bytes that new files may still take.
    pub free_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies.
    Killed,
    /// The machine goes down.
    PowerLoss,
}

impl Disk {
    /// Names of files, in order.
    pub fn list(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// An empty file under this name, in the place of what has it.
    pub fn create(&mut self, name: &str) {
        let file = self.next;
        self.next += 1;
        self.files.insert(file, File::default());
        self.names.insert(name.to_owned(), file);
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let file = self.names.remove(from).expect("a file that is renamed is there");
        self.names.insert(to.to_owned(), file);
    }

    pub fn remove(&mut self, name: &str) {
        self.names.remove(name).expect("a file that is removed is there");
    }

    pub fn sync_directory(&mut self) {
        self.names_on_disk = self.names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
    }

    pub fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) {
        let file = self.file(name);
        let end = offset + bytes.len();
        if file.cached.len() < end {
            file.cached.extend_from_slice(&vec![0; end - file.cached.len()]);
            file.length_is_dirty = true;
        }
        file.cached[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            file.dirty.insert(sector);
            file.ghosts.remove(&sector);
        }
    }

    pub fn truncate(&mut self, name: &str, length: usize) {
        let file = self.file(name);
        file.cached.truncate(length);
        file.length_is_dirty = true;
    }

    /// Everything that is dirty reaches the disk.
    pub fn sync(&mut self, name: &str) {
        let file = self.file(name);
        let missing = file.cached.len().saturating_sub(file.disk.len());
        file.disk.extend_from_slice(&vec![0; missing]);
        file.disk.truncate(file.cached.len());
        for sector in std::mem::take(&mut file.dirty) {
            file.keep(sector);
        }
        file.length_is_dirty = false;
    }

    /// The system says that a sync failed, and takes what was dirty for clean from there on.
    pub fn fail_sync(&mut self, name: &str) {
        let file = self.file(name);
        let dirty = std::mem::take(&mut file.dirty);
        file.ghosts.extend(dirty);
    }

    /// What a process reads.
    pub fn read(&self, name: &str) -> &[u8] {
        &self.files[&self.names[name]].cached
    }

    /// What surely is on disk.
    pub fn image(&self, name: &str) -> &[u8] {
        self.names.get(name).map_or(&[], |file| &self.files[file].disk)
    }

    pub fn crash(&mut self, crash: Crash, dice: &mut Dice) {
        match crash {
            Crash::Killed => {
                self.files.values_mut().for_each(|file| file.evict(dice));
            }
            Crash::PowerLoss => {
                self.files.values_mut().for_each(|file| file.lose(dice));
                self.lose_names(dice);
            }
        }
    }

    fn lose_names(&mut self, dice: &mut Dice) {
        let both: BTreeSet<String> =
            self.names.keys().chain(self.names_on_disk.keys()).cloned().collect();
        let mut left = BTreeMap::new();
        for name in both {
            let from = if dice.roll(2) == 0 { &self.names } else { &self.names_on_disk };
            if let Some(&file) = from.get(&name) {
                left.insert(name, file);
            }
        }
        self.names = left;
        self.sync_directory();
    }

    fn file(&mut self, name: &str) -> &mut File {
        let file = self.names.get(name).unwrap_or_else(|| panic!("there is no file {name}"));
        self.files.get_mut(file).expect("a name stands for a file")
    }
}

impl File {
    /// The sector as it is in the cache reaches the disk.
    fn keep(&mut self, sector: usize) {
        let from = (sector * SECTOR).min(self.cached.len());
        let to = ((sector + 1) * SECTOR).min(self.cached.len());
        if self.disk.len() < to {
            self.disk.resize(to, 0);
        }
        self.disk[from..to].copy_from_slice(&self.cached[from..to]);
    }

    /// The cache forgets some of the clean sectors and reads them again.
    fn evict(&mut self, dice: &mut Dice) {
        for sector in std::mem::take(&mut self.ghosts) {
            if dice.roll(2) == 0 {
                self.ghosts.insert(sector);
                continue;
            }
            for at in sector * SECTOR..((sector + 1) * SECTOR).min(self.cached.len()) {
                self.cached[at] = self.disk.get(at).copied().unwrap_or(0);
            }
        }
    }

    fn lose(&mut self, dice: &mut Dice) {
        if self.length_is_dirty {
            let keeps = dice.roll(2) == 0;
            let length = if keeps { self.cached.len() } else { self.disk.len() };
            self.disk.resize(length, 0);
        }
        let length = self.disk.len();
        for sector in std::mem::take(&mut self.dirty) {
            if sector * SECTOR < length && dice.roll(2) == 0 {
                self.keep(sector);
            }
        }
        self.disk.truncate(length);
        self.cached = self.disk.clone();
        self.ghosts.clear();
        self.length_is_dirty = false;
    }
}

#[test]
fn a_crash_leaves_what_was_synced_and_sectors_of_the_rest() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let mut disk = Disk::default();
        disk.create("a");
        disk.write("a", 0, &[1; 2 * SECTOR]);
        disk.sync("a");
        disk.sync_directory();
        disk.write("a", 0, &[2; 2 * SECTOR]);
        disk.create("b");
        disk.crash(Crash::PowerLoss, &mut Dice::new(seed));
        seen.insert((disk.read("a")[0], disk.read("a")[SECTOR], disk.exists("b")));
    }
    assert_eq!(seen.len(), 8, "every mixture comes: {seen:?}");
}

#[test]
fn what_a_failed_sync_left_is_no_later_syncs_work() {
    let mut disk = Disk::default();
    disk.create("a");
    disk.write("a", 0, &[0; SECTOR]);
    disk.sync("a");
    disk.sync_directory();
    disk.write("a", 0, &[1; SECTOR]);
    disk.fail_sync("a");
    disk.sync("a");
    assert_eq!((disk.read("a")[0], disk.image("a")[0]), (1, 0));
    disk.crash(Crash::PowerLoss, &mut Dice::new(1));
    assert_eq!(disk.read("a")[0], 0);
}
