//! Segments that end because somebody asks for it.

use super::*;

#[test]
fn a_segment_ends_when_somebody_waits_for_its_pages() {
    let mut rig = Rig::new(settings(Fsync::Commit), first_start(), 1);
    rig.run(at(0));
    let leased = rig.journal.handle_rotate();
    rig.run(at(1));
    assert_eq!(rig.ended, [(1, leased)]);
    rig.journal.handle_append(0, 1, &text(1, "a"));
    let through = rig.journal.handle_rotate();
    rig.run(at(2));
    assert_eq!(rig.ended[1..], [(2, through)]);
    // With nothing behind it there is nothing to end, now or later.
    assert_eq!(rig.journal.handle_rotate(), through);
    rig.run(at(3));
    rig.journal.handle_append(0, 2, &text(2, "b"));
    rig.run(at(4));
    assert_eq!((rig.durable(0), rig.ended.len()), (2, 2));
}
