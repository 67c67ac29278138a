//! What is written: record after record, each a function of its number, so that whoever looks at a disk knows
//! what has to stand there.

use std::collections::BTreeMap;
use std::sync::Arc;

use loquat::model::*;
use loquat::node::ports::Record;

use crate::dice::Dice;
use crate::rig::{conversation, user};

pub const CONVERSATIONS: u64 = 6;
const BEGUN_MS: u64 = 1_760_000_000_000;

/// One run of the store.
#[derive(Debug, Clone)]
pub struct Life {
    pub records: u64,
    pub segment_bytes: u64,
    /// It ends cleanly; else it is killed.
    pub stops: bool,
}

/// A conversation as the plan has it so far.
#[derive(Debug, Default, Clone)]
struct Told {
    seq: u64,
    /// Ids of messages that are not deleted.
    messages: Vec<u64>,
    said: u64,
}

/// Gives the records in their order.
#[derive(Debug, Clone)]
pub struct Plan {
    seed: u64,
    next: u64,
    told: BTreeMap<u64, Told>,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        Plan { seed, next: 0, told: BTreeMap::new() }
    }

    /// Events so far, by conversation.
    pub fn seqs(&self) -> BTreeMap<u64, u64> {
        self.told.iter().map(|(id, told)| (*id, told.seq)).collect()
    }

    fn body(&mut self, of: u64, dice: &mut Dice) -> EventBody {
        let number = self.next;
        let told = self.told.entry(of).or_default();
        let by = user(1 + dice.roll(4));
        let what = dice.roll(100);
        let message = match told.messages.is_empty() {
            false => Some(MessageId(told.messages[dice.roll(told.messages.len() as u64) as usize])),
            true => None,
        };
        match message {
            Some(message) if what < 12 => {
                EventBody::Edit { message, by, content: text(number, 60) }
            }
            Some(message) if what < 18 => {
                told.messages.retain(|id| *id != message.0);
                EventBody::Delete { message, by }
            }
            Some(message) if what < 32 => {
                let emoji = ["👍", "x", "🎉"][dice.roll(3) as usize].to_owned();
                let added = what < 27;
                let action = if added { ReactionAction::Added } else { ReactionAction::Removed };
                EventBody::Reaction { message, user: by, emoji, action }
            }
            parent => {
                let id = number + 1;
                told.messages.push(id);
                told.said += 1;
                let length = if what > 93 { 20_000 } else { 40 + dice.roll(900) as usize };
                EventBody::Message(MessageBody {
                    id: MessageId(id),
                    ordinal: told.said - 1,
                    sender: Profile::nameless(by).into(),
                    content: text(number, length),
                    parent: parent.filter(|_| what < 45),
                    client_msg_id: (what < 70).then(|| format!("c-{number}")),
                })
            }
        }
    }
}

impl Iterator for Plan {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let number = self.next;
        let mut dice = Dice::new(self.seed.wrapping_mul(0x1000_0001) ^ number);
        let of = 1 + dice.roll(CONVERSATIONS);
        let at = Wall(BEGUN_MS + number);
        let record = match number {
            0..CONVERSATIONS => Record::Directory(DirectoryChange::ConversationCreated {
                conversation: conversation(number + 1),
                at,
            }),
            _ if number % 41 == 7 => Record::Directory(DirectoryChange::MemberSet {
                conversation: conversation(of),
                user: user(number),
                role: Role::Member,
            }),
            _ if number % 23 == 9 => {
                let mark = Mark { user: user(5), message: MessageId(number), ordinal: number, at };
                Record::Mark { conversation: conversation(of), mark }
            }
            _ => {
                let body = self.body(of, &mut dice);
                let told = self.told.entry(of).or_default();
                told.seq += 1;
                let event = Arc::new(Event { seq: Seq(told.seq), at, body });
                Record::Event { conversation: conversation(of), event }
            }
        };
        self.next += 1;
        Some(record)
    }
}

/// A text that only this record has, and that packing does not shorten.
fn text(number: u64, length: usize) -> String {
    let word = |at: u64| {
        let mixed = (number << 20 | at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{:016x}", mixed ^ mixed >> 32)
    };
    (0..=length as u64 / 16).map(word).collect()
}

/// What the first `records` records of a plan add up to.
#[derive(Debug, Default)]
pub struct Sum {
    pub events: BTreeMap<u64, Vec<Arc<Event>>>,
    pub members: BTreeMap<u64, usize>,
    pub marks: BTreeMap<u64, u64>,
    pub created: u64,
    pub deleted: Vec<MessageId>,
}

impl Sum {
    pub fn of(seed: u64, records: u64) -> Sum {
        let mut sum = Sum::default();
        let number = |id: &ConversationId| id.to_string().parse::<u64>().unwrap();
        for record in Plan::new(seed).take(records as usize) {
            match record {
                Record::Event { conversation, event } => {
                    if let EventBody::Delete { message, .. } = event.body {
                        sum.deleted.push(message);
                    }
                    sum.events.entry(number(&conversation)).or_default().push(event);
                }
                Record::Mark { conversation, mark } => {
                    sum.marks.insert(number(&conversation), mark.message.0);
                }
                Record::Directory(DirectoryChange::MemberSet { conversation, .. }) => {
                    *sum.members.entry(number(&conversation)).or_default() += 1;
                }
                Record::Directory(_) => sum.created += 1,
                Record::Erased => unreachable!("the plan erases nothing"),
            }
        }
        sum
    }
}
