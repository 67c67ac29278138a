//! What a disk has while the calls go by, and what it may have after a power loss at this moment.
//!
//! A file's bytes are certain once a sync of that file that began after they were written has returned; a name
//! once a sync of its directory has. Of everything else each piece may be there or not: a write may be there
//! in whole, not at all, or in any of its 512-byte sectors, whatever came before or after it; so may a
//! length, and a name that was given, changed or taken. `sync_file_range` makes nothing certain.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trace::{Call, Inode, Step};
use crate::dice::Dice;

const SECTOR: usize = 512;

/// A change of a file that is not certain.
#[derive(Debug, Clone)]
struct Pending {
    id: u64,
    change: Change,
    /// The call returned.
    is_over: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    Truncate { length: u64 },
}

#[derive(Debug, Default)]
struct Contents {
    certain: Vec<u8>,
    pending: Vec<Pending>,
}

/// A change of names that is not certain; both ends of a renaming are one.
#[derive(Debug, Clone)]
struct Naming {
    id: u64,
    directory: PathBuf,
    gone: Option<PathBuf>,
    given: Option<(PathBuf, Entry)>,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(Inode),
    Directory,
}

type Names = BTreeMap<PathBuf, Entry>;

#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    files: HashMap<Inode, Contents>,
    certain: Names,
    /// As processes see them.
    seen: Names,
    namings: Vec<Naming>,
    /// Syncs under way, with the changes that were over when they began.
    syncs: HashMap<u64, (Call, BTreeSet<u64>)>,
    /// Calls under way that say nothing when they are over.
    pub sent: u64,
    pub told: u64,
    pub leased: u64,
}

/// How a power loss treats what is not certain.
#[derive(Debug, Clone)]
pub struct Fate {
    seed: u64,
    /// Of 100: how much is there.
    kept: u64,
    names_kept: u64,
    /// Of 100: how many of the writes that are there are torn.
    torn: u64,
    /// Of 100: how many that are not there have made the file longer.
    lengthened: u64,
}

impl Fate {
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Names are as they were last, and of bytes there is nothing but what is certain.
    pub fn forgetful() -> Fate {
        Fate { seed: 1, kept: 0, names_kept: 100, torn: 0, lengthened: 0 }
    }

    pub fn roll(dice: &mut Dice) -> Fate {
        Fate {
            seed: dice.next(),
            kept: dice.pick(&[0, 0, 10, 50, 90, 100, 100]),
            names_kept: dice.pick(&[0, 0, 50, 100, 100]),
            torn: dice.pick(&[0, 0, 30, 100]),
            lengthened: dice.pick(&[0, 50]),
        }
    }
}

impl Disk {
    pub fn new(root: &Path) -> Disk {
        let names = Names::from([(root.to_owned(), Entry::Directory)]);
        Disk {
            root: root.to_owned(),
            files: HashMap::new(),
            certain: names.clone(),
            seen: names,
            namings: Vec::new(),
            syncs: HashMap::new(),
            sent: 0,
            told: 0,
            leased: 0,
        }
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Enter { id, call } => self.enter(*id, call),
            Step::Exit { id } => self.exit(*id),
        }
    }

    fn enter(&mut self, id: u64, call: &Call) {
        match call {
            Call::Create { path, inode } => {
                self.files.insert(*inode, Contents::default());
                self.name(id, None, Some((path.clone(), Entry::File(*inode))));
            }
            Call::Mkdir { path } => self.name(id, None, Some((path.clone(), Entry::Directory))),
            Call::Rename { from, to } => {
                let entry = *self.seen.get(from).expect("what is renamed is there");
                self.name(id, Some(from.clone()), Some((to.clone(), entry)));
            }
            Call::Unlink { path } => self.name(id, Some(path.clone()), None),
            Call::Write { inode, offset, bytes } => {
                self.change(*inode, id, Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Call::Truncate { inode, length } => {
                self.change(*inode, id, Change::Truncate { length: *length });
            }
            Call::Sync { inode } => {
                let pending = self.files[inode].pending.iter().filter(|change| change.is_over);
                let over = pending.map(|change| change.id).collect();
                self.syncs.insert(id, (call.clone(), over));
            }
            Call::SyncDirectory { path } => {
                let of_it = self.namings.iter().filter(|n| n.is_over && n.directory == *path);
                let over = of_it.map(|naming| naming.id).collect();
                self.syncs.insert(id, (call.clone(), over));
            }
            Call::Said(text) => text.lines().for_each(|line| self.hear(line)),
        }
    }

    fn hear(&mut self, line: &str) {
        let (what, number) = line.split_once(' ').expect("a word and a number");
        let number = number.parse().expect("a number");
        match what {
            "sent" => self.sent = self.sent.max(number),
            "told" => self.told = self.told.max(number),
            "leased" => self.leased = self.leased.max(number),
            _ => {}
        }
    }

    fn change(&mut self, inode: Inode, id: u64, change: Change) {
        let file = self.files.get_mut(&inode).expect("it was made before");
        file.pending.push(Pending { id, change, is_over: false });
    }

    fn name(&mut self, id: u64, gone: Option<PathBuf>, given: Option<(PathBuf, Entry)>) {
        let path = gone.as_ref().or(given.as_ref().map(|(path, _)| path)).expect("one of them");
        let directory = path.parent().expect("below the root").to_owned();
        let naming = Naming { id, directory, gone, given, is_over: false };
        naming.apply(&mut self.seen);
        self.namings.push(naming);
    }

    fn exit(&mut self, id: u64) {
        if let Some((call, over)) = self.syncs.remove(&id) {
            return self.synced(&call, &over);
        }
        self.namings.iter_mut().filter(|naming| naming.id == id).for_each(|n| n.is_over = true);
        for file in self.files.values_mut() {
            file.pending.iter_mut().filter(|change| change.id == id).for_each(|c| c.is_over = true);
        }
    }

    fn synced(&mut self, call: &Call, over: &BTreeSet<u64>) {
        match call {
            Call::Sync { inode } => {
                let file = self.files.get_mut(inode).expect("it was made before");
                for pending in file.pending.iter().filter(|pending| over.contains(&pending.id)) {
                    pending.change.apply(&mut file.certain);
                }
                file.pending.retain(|pending| !over.contains(&pending.id));
            }
            Call::SyncDirectory { .. } => {
                let certain = &mut self.certain;
                self.namings.iter().filter(|n| over.contains(&n.id)).for_each(|n| n.apply(certain));
                self.namings.retain(|naming| !over.contains(&naming.id));
            }
            _ => unreachable!("only syncs are noted"),
        }
    }

    pub fn is_under_way(&self, id: u64) -> bool {
        let mut pending = self.files.values().flat_map(|file| &file.pending);
        pending.any(|change| change.id == id && !change.is_over)
    }

    pub fn path_of(&self, inode: Inode) -> Option<&Path> {
        let found = self.seen.iter().find(|(_, entry)| **entry == Entry::File(inode));
        found.map(|(path, _)| path.as_path())
    }

    /// The first name or file that is otherwise than processes see it now.
    pub fn differs(&self) -> Option<String> {
        let mut there = BTreeSet::new();
        walk(&self.root, &mut there);
        let due: BTreeSet<PathBuf> = self.seen.keys().cloned().collect();
        if let Some(path) = there.symmetric_difference(&due).next() {
            return Some(format!("{} is there or is not", path.display()));
        }
        let files = self.seen.iter().filter_map(|(path, entry)| match entry {
            Entry::File(inode) => Some((path, &self.files[inode])),
            Entry::Directory => None,
        });
        for (path, file) in files {
            let mut bytes = file.certain.clone();
            file.pending.iter().for_each(|pending| pending.change.apply(&mut bytes));
            let found = fs::read(path).unwrap();
            if found != bytes {
                let at = found.iter().zip(&bytes).position(|(one, other)| one != other);
                let (path, lengths) = (path.display(), (found.len(), bytes.len()));
                return Some(format!("{path} differs at {at:?}, lengths {lengths:?}"));
            }
        }
        None
    }

    /// Makes what a power loss now would leave, below `at`.
    pub fn leave(&self, fate: &Fate, at: &Path) {
        let mut dice = Dice::new(fate.seed);
        let mut names = self.certain.clone();
        for naming in &self.namings {
            if dice.roll(100) < fate.names_kept {
                naming.apply(&mut names);
            }
        }
        for (path, entry) in &names {
            // A directory that is not there has nothing.
            if path.ancestors().skip(1).any(|above| {
                above.starts_with(&self.root) && names.get(above) != Some(&Entry::Directory)
            }) {
                continue;
            }
            let path = at.join(path.strip_prefix(&self.root).expect("below the root"));
            match entry {
                Entry::Directory => fs::create_dir_all(&path).unwrap(),
                Entry::File(inode) => {
                    let bytes = self.files[inode].left(fate, &mut dice);
                    fs::write(&path, bytes).unwrap();
                }
            }
        }
    }
}

fn walk(path: &Path, into: &mut BTreeSet<PathBuf>) {
    into.insert(path.to_owned());
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), into));
    }
}

impl Naming {
    fn apply(&self, names: &mut Names) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, entry)) = &self.given {
            names.insert(path.clone(), *entry);
        }
        // What lies in a directory goes with it.
        if let (Some(from), Some((to, Entry::Directory))) = (&self.gone, &self.given) {
            let inside: Vec<PathBuf> =
                names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in inside {
                let entry = names.remove(&path).expect("it was listed");
                names.insert(to.join(path.strip_prefix(from).expect("it is below")), entry);
            }
        }
    }
}

impl Contents {
    fn left(&self, fate: &Fate, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        for pending in &self.pending {
            match &pending.change {
                change if dice.roll(100) < fate.kept => match change {
                    Change::Write { offset, bytes: written } if dice.roll(100) < fate.torn => {
                        torn(&mut bytes, *offset, written, dice);
                    }
                    change => change.apply(&mut bytes),
                },
                Change::Write { offset, bytes: written } if dice.roll(100) < fate.lengthened => {
                    let end = *offset as usize + written.len();
                    bytes.resize(bytes.len().max(end), 0);
                }
                _ => {}
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                let (from, end) = (*offset as usize, *offset as usize + bytes.len());
                file.resize(file.len().max(end), 0);
                file[from..end].copy_from_slice(bytes);
            }
            Change::Truncate { length } => file.resize(*length as usize, 0),
        }
    }
}

/// Each sector of the disk has the old or the new bytes.
fn torn(file: &mut Vec<u8>, offset: u64, written: &[u8], dice: &mut Dice) {
    let (from, end) = (offset as usize, offset as usize + written.len());
    file.resize(file.len().max(end), 0);
    let mut at = from;
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        if dice.roll(2) == 0 {
            file[at..next].copy_from_slice(&written[at - from..next - from]);
        }
        at = next;
    }
}
