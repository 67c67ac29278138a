//! What a seed may do at all: another choice of faults, limits and habits for each, so that some seeds
//! meet many troubles at once and others one of them undisturbed (Groce and others: Swarm Testing).

use loquat::limits::Limits;
use loquat::model::Access;
use loquat::node::journal::{Fsync, JournalSettings};

use super::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill,
    PowerLoss,
    /// A crash while a start is under way.
    CrashAtStart,
    Restart,
    SlowSync,
    SyncFails,
    WriteFails,
    DiskFull,
    SlowSeal,
    SlowReader,
    ReaderFails,
    CoreStandsStill,
    SlowNetwork,
    Stall,
    Reset,
    HalfOpen,
    HangUp,
    Members,
    Quiet,
    BadFrames,
    Memory,
}

#[derive(Debug, Clone)]
pub struct Plan {
    faults: u64,
    pub cores: u16,
    pub clients: usize,
    pub users: u64,
    pub conversations: u64,
    /// What all clients together do before the faults end.
    pub actions: u32,
    /// A client does something about this often.
    pub every_ms: u64,
    /// Something goes wrong about this often.
    pub fault_every_ms: u64,
    /// Of ten clients so many speak v1.
    pub v1_of_ten: u64,
    pub access: Access,
    /// v2 clients come back with `since`.
    pub resumes: bool,
    pub token_s: u64,
    pub limits: Limits,
    pub has_rates: bool,
    pub wide_threshold: usize,
    pub history_on_connect: u32,
    pub offline_grace_ms: u64,
    pub mail_slots: usize,
    pub log_slots: usize,
    pub reader_slots: usize,
    pub from_log_slots: usize,
    pub lease_ids: u64,
    pub records_per_turn: usize,
    pub journal: JournalSettings,
    pub sync_ms: u64,
    pub read_ms: u64,
    pub latency_ms: u64,
    /// Most bytes that the network moves at once.
    pub chunk: usize,
    /// What the kernel takes of a socket that nobody reads.
    pub kernel_bytes: usize,
}

const FAULTS: u64 = 21;

impl Plan {
    pub fn new(dice: &mut Dice) -> Plan {
        let faults = match dice.roll(8) {
            0 => 0,
            1 => u64::MAX,
            // Each with an even chance, or one in four.
            2..5 => dice.next(),
            _ => dice.next() & dice.next(),
        };
        let has_rates = dice.roll(4) == 0;
        Plan {
            faults: faults & ((1 << FAULTS) - 1),
            cores: dice.pick(&[1, 1, 2, 2, 3, 4]),
            clients: dice.pick(&[2, 3, 5, 8, 8, 12, 20, 40]),
            users: 1 + dice.roll(6),
            conversations: 1 + dice.roll(3),
            actions: dice.pick(&[40, 80, 120]),
            every_ms: dice.pick(&[3, 20, 200]),
            fault_every_ms: dice.pick(&[20, 100, 500]),
            v1_of_ten: dice.pick(&[0, 3, 5, 10]),
            access: dice.pick(&[Access::Open, Access::Open, Access::Members]),
            resumes: dice.roll(4) > 0,
            token_s: dice.pick(&[60, 86_400, 86_400]),
            limits: limits(dice),
            has_rates,
            wide_threshold: dice.pick(&[1, 2, 4, 1_024]),
            history_on_connect: dice.pick(&[0, 0, 3, 50]),
            offline_grace_ms: dice.pick(&[0, 5_000]),
            mail_slots: dice.pick(&[1, 2, 64]),
            log_slots: dice.pick(&[1, 2, 8, 1_024]),
            reader_slots: dice.pick(&[1, 2, 256]),
            from_log_slots: dice.pick(&[1, 2, 256]),
            lease_ids: dice.pick(&[3, 3, 1 << 16]),
            records_per_turn: dice.pick(&[1, 2, 4_096]),
            journal: journal(dice),
            sync_ms: dice.pick(&[0, 1, 5, 40]),
            read_ms: dice.pick(&[0, 1, 20]),
            latency_ms: dice.pick(&[0, 1, 30]),
            chunk: dice.pick(&[7, 100, 1_500, 1_500]),
            kernel_bytes: dice.pick(&[64, 4_096, 65_536]),
        }
    }

    pub fn may(&self, fault: Fault) -> bool {
        self.faults & (1 << fault as u64) != 0
    }

    /// The server has begun often enough.
    pub fn stop_crashing(&mut self) {
        use Fault::{CrashAtStart, Kill, PowerLoss, Restart, SyncFails, WriteFails};
        for fault in [CrashAtStart, Kill, PowerLoss, Restart, SyncFails, WriteFails] {
            self.faults &= !(1 << fault as u64);
        }
    }

    /// From here on nothing goes wrong.
    pub fn calm(&mut self) {
        self.faults = 0;
        self.latency_ms = 1;
        self.chunk = 1_500;
        self.kernel_bytes = 65_536;
        (self.sync_ms, self.read_ms) = (1, 1);
    }
}

fn limits(dice: &mut Dice) -> Limits {
    Limits {
        outbox_bytes: dice.pick(&[1_500, 4_096, 65_536, 256 * 1024]),
        sockets_per_user: 64,
        ..Limits::DEFAULT
    }
}

fn journal(dice: &mut Dice) -> JournalSettings {
    JournalSettings {
        fsync: match dice.roll(10) {
            0 => Fsync::Never,
            1 => Fsync::Interval { ms: 100 },
            _ => Fsync::Commit,
        },
        segment_bytes: dice.pick(&[8 << 10, 8 << 10, 16 << 10, 128 << 10]),
        segment_age_ms: dice.pick(&[2_000, 60_000, 600_000]),
        disk_reserve_bytes: 64 << 10,
    }
}
