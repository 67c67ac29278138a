//! What breaks the rules of the wire, and how it is told.

use loquat::limits::Limits;
use loquat::node::guard::Buckets;
use serde_json::json;

use super::client::chat;
use super::decode::{Seen, client_frame, masked};
use super::pump::End;
use super::world::{Setup, World};

fn told(bytes: &[u8]) -> (Option<u16>, Option<End>) {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    let mut all = masked(1, chat("before").to_string().as_bytes());
    all.extend(bytes);
    all.extend(masked(1, chat("behind").to_string().as_bytes()));
    world.bytes(ann, &all);
    world.settle();
    assert_eq!(world.contents(bob), ["before"], "what was valid is taken, what follows is not");
    world.advance(2_500);
    let told = (world.close_code(ann), world.end(ann));
    world.finish();
    told
}

#[test]
fn each_violation_has_its_code() {
    let check = |name: &str, bytes: &[u8], code: u16| {
        assert_eq!(told(bytes), (Some(code), Some(End::Fin)), "{name}");
    };
    check("reserved bit", &client_frame(0xc1, b""), 1002);
    check("unknown opcode", &client_frame(0x83, b""), 1002);
    check("not masked", &[0x81, 0x01, b'x'], 1002);
    check("a length that is too long to be true", &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], 1002);
    check("a fragment of nothing", &client_frame(0x80, b"x"), 1002);
    check("a control frame in pieces", &client_frame(0x09, b""), 1002);
    check("a close of one byte", &masked(8, b"x"), 1002);
    check("a close with a code that is none", &masked(8, &1005u16.to_be_bytes()), 1002);
    check("text that is none", &masked(1, b"\xff\xfe"), 1007);
    check("too big", &masked(1, &vec![b' '; 65_537]), 1009);
    let fragments: Vec<u8> =
        (0..65).flat_map(|n| client_frame(if n == 0 { 0x01 } else { 0x00 }, b"")).collect();
    check("fragment flood", &fragments, 1008);
}

#[test]
fn twenty_bad_frames_within_a_minute_end_the_socket() {
    let mut world = World::new(Setup { buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    let bad: [&[u8]; 4] = [b"{", b"[]", br#"{"type":"?"}"#, br#"{"type":"chat_message"}"#];
    for n in 0..19 {
        world.bytes(ann, &masked(1, bad[n % 4]));
    }
    world.settle();
    assert!(world.is_open(ann));
    world.advance(61_000);
    world.bytes(ann, &masked(10, b""));
    let ann = world.enter(1, 2);
    for _ in 0..20 {
        world.bytes(ann, &masked(2, b"x"));
    }
    world.settle();
    assert_eq!((world.close_code(ann), world.errors(ann).len()), (Some(4008), 20));
    world.finish();
}

#[test]
fn a_close_is_echoed_and_the_socket_ends_in_good_order() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.bytes(ann, &masked(8, b""));
    world.settle();
    assert_eq!(world.seen(ann).last(), Some(&Seen::Close(None, String::new())));
    world.hang_up(ann);
    assert_eq!(world.end(ann), Some(End::Fin));
    world.finish();
}

#[test]
fn a_peer_that_talks_on_behind_the_end_is_cut_off() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.bytes(ann, &client_frame(0xf1, b""));
    world.settle();
    world.bytes(ann, &vec![0; 256 * 1024 + 1]);
    assert!(world.end(ann).is_some());
    world.finish();
}

#[test]
fn new_limits_hold_for_what_comes() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    let limits = Limits { content_chars: 5, ..Limits::DEFAULT };
    let reloadable = std::sync::Arc::new(world.reloadable(limits));
    let now = world.now;
    world.seats[0].core.reload(reloadable, now);
    world.say(ann, "123456");
    world.send(ann, &json!({"type": "chat_message", "content": "12345"}));
    assert_eq!(
        (world.errors(ann), world.contents(ann)),
        (vec!["too_long".to_owned()], vec!["12345".to_owned()])
    );
    world.finish();
}
