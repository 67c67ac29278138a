//! Syncs aside: with fsync = interval nobody waits for the disk, as long as it keeps up.

use super::*;

const MS: u64 = 100;

/// A journal whose syncs are answered by hand.
fn slow() -> Rig {
    let mut rig = Rig::new(settings(Fsync::Interval { ms: MS }), first_start(), 1);
    rig.run(at(0));
    rig.is_slow = true;
    rig
}

fn say(rig: &mut Rig, lsn: u64, ms: u64) {
    rig.journal.handle_append(0, lsn, &text(lsn, "hello"));
    rig.run(at(ms));
}

fn answer(rig: &mut Rig, ms: u64) {
    rig.journal.handle_done(Done::Synced);
    rig.run(at(ms));
}

#[test]
fn commits_are_told_while_a_sync_is_under_way_and_the_next_sync_has_them() {
    let mut rig = slow();
    say(&mut rig, 1, 1);
    rig.run(at(1 + MS / 2));
    assert_eq!(rig.syncs, 1, "half an interval after the write at the latest");
    say(&mut rig, 2, 60);
    assert_eq!((rig.durable(0), rig.syncs), (2, 1));
    answer(&mut rig, 70);
    assert_eq!(rig.syncs, 1);
    let due = rig.journal.next_timeout().unwrap();
    assert_eq!(due, Mono(60 + MS / 2 - 10), "in a pause a little earlier");
    rig.run(Now { mono: due, wall: Wall(0) });
    assert_eq!(rig.syncs, 2);
    let file = &rig.files[&1];
    assert_eq!(file.synced, file.seen);
}

#[test]
fn what_was_told_and_is_not_synced_spans_no_more_than_the_interval() {
    let mut rig = slow();
    say(&mut rig, 1, 1);
    rig.run(at(51));
    say(&mut rig, 2, 52);
    say(&mut rig, 3, 101);
    assert_eq!(rig.durable(0), 3);
    for (lsn, ms) in [(4, 102), (5, 3_000)] {
        say(&mut rig, lsn, ms);
        assert_eq!((rig.durable(0), rig.syncs), (3, 1), "the disk is behind");
    }
    answer(&mut rig, 3_001);
    assert_eq!((rig.durable(0), rig.syncs), (5, 2), "and goes on at once");
    answer(&mut rig, 3_002);
    assert_eq!(rig.fatal, None);
}

#[test]
fn a_segment_ends_when_all_of_it_is_synced_and_nothing_comes_between() {
    let mut rig = slow();
    say(&mut rig, 1, 1);
    rig.run(at(51));
    say(&mut rig, 2, 52);
    rig.journal.handle_rotate();
    rig.run(at(53));
    say(&mut rig, 3, 54);
    assert_eq!((rig.ended.len(), rig.durable(0), rig.syncs), (0, 2, 1));
    answer(&mut rig, 55);
    assert_eq!((rig.ended.len(), rig.durable(0), rig.syncs), (0, 2, 2), "the second write, too");
    let file = &rig.files[&1];
    assert_eq!(file.synced, file.seen);
    answer(&mut rig, 56);
    assert_eq!((rig.ended.as_slice(), rig.durable(0)), ([(1, 3)].as_slice(), 3));
    assert!(rig.files[&2].seen != rig.files[&2].synced, "the third is in the next one");
}

#[test]
fn an_aged_segment_whose_last_sync_is_under_way_is_not_due_again_and_again() {
    let mut rig = slow();
    say(&mut rig, 1, 1);
    let aged = at(settings(Fsync::Commit).segment_age_ms + 2);
    rig.run(aged);
    assert_eq!((rig.syncs, rig.ended.len()), (1, 0));
    assert_eq!(rig.journal.next_timeout(), None, "the answer brings a turn");
    rig.journal.handle_done(Done::Synced);
    rig.run(aged);
    assert_eq!(rig.ended, [(1, 2)]);
}

#[test]
fn a_stop_waits_for_the_sync_that_is_under_way_and_for_the_last() {
    let mut rig = slow();
    say(&mut rig, 1, 1);
    rig.run(at(51));
    say(&mut rig, 2, 52);
    rig.journal.handle_stop(0);
    rig.run(at(53));
    answer(&mut rig, 54);
    assert!(!rig.journal.is_finished());
    answer(&mut rig, 55);
    assert!(rig.journal.is_finished());
    let file = &rig.files[&1];
    assert_eq!(file.synced, file.seen);
}

#[test]
fn a_sync_aside_that_fails_ends_the_process() {
    let mut rig = slow();
    say(&mut rig, 1, 1);
    rig.run(at(51));
    rig.journal.handle_done(Done::Failed { what: "syncing: EIO".to_owned() });
    rig.run(at(52));
    assert_eq!(rig.fatal.as_deref(), Some("syncing: EIO"));
    assert!(!rig.journal.has_room());
}
