//! From the first byte to the verdict, and from the accepting core to the owner's.

use std::net::IpAddr;

use loquat::limits::Limits;
use loquat::model::Version;
use loquat::node::core::RejectStyle;

use super::client::{Knock, chat, head};
use super::decode::{Seen, masked};
use super::pump::End;
use super::world::{Mode, Setup, World};

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut world = World::new(Setup::default());
    let knock = Knock { version: Version::V1, ..Knock::default() };
    let token = world.token(1);
    let ann = world.open(0, "192.0.2.1".parse().unwrap(), 1);
    for byte in head(&format!("/ws/chat/1?token={token}")).bytes() {
        world.bytes(ann, &[byte]);
    }
    world.settle();
    assert!(world.is_open(ann));
    let bob = world.connect(knock);
    assert!(world.is_open(bob));
    world.finish();
}

#[test]
fn refused_tokens_are_told_by_a_close_or_by_a_status() {
    let check = |reject: RejectStyle, token: &str, expected: (u16, Option<u16>)| {
        let mut world = World::new(Setup { reject, ..Setup::default() });
        let ann = world.connect(Knock { token: Some(token), ..Knock::default() });
        let told = (world.http_status(ann).unwrap(), world.close_code(ann));
        assert_eq!(told, expected, "{reject:?} {token}");
        world.advance(3_000);
        assert_eq!(world.end(ann), Some(End::Fin));
        world.finish();
    };
    check(RejectStyle::Close, "", (101, Some(4001)));
    check(RejectStyle::Close, "x.y.z", (101, Some(4001)));
    check(RejectStyle::Http, "", (401, None));
    check(RejectStyle::Http, "x.y.z", (401, None));
}

#[test]
fn strangers_are_told_by_a_close_or_by_a_status() {
    let check = |reject: RejectStyle, expected: (u16, Option<u16>)| {
        let access = loquat::model::Access::Members;
        let mut world = World::new(Setup { reject, access, ..Setup::default() });
        let ann = world.enter(1, 1);
        assert_eq!((world.http_status(ann).unwrap(), world.close_code(ann)), expected);
        world.finish();
    };
    check(RejectStyle::Close, (101, Some(4003)));
    check(RejectStyle::Http, (403, None));
}

#[test]
fn a_user_has_so_many_sockets_and_one_that_goes_makes_room() {
    let limits = Limits { sockets_per_user: 2, ..Limits::DEFAULT };
    let mut world = World::new(Setup { limits, ..Setup::default() });
    let first = world.enter(1, 1);
    world.enter(1, 2);
    let third = world.enter(1, 3);
    assert_eq!(world.close_code(third), Some(4009));
    world.hang_up(first);
    let fourth = world.enter(1, 3);
    assert!(world.is_open(fourth));
    world.finish();
}

#[test]
fn a_plain_request_goes_to_the_http_side_with_all_its_bytes() {
    let mut world = World::new(Setup::default());
    let ann = world.open(0, "192.0.2.1".parse().unwrap(), 1);
    let request = b"GET /health HTTP/1.1\r\nHost: chat.example.com\r\n\r\nrest";
    world.bytes(ann, request);
    world.settle();
    assert_eq!(world.end(ann), Some(End::Plain));
    assert_eq!(world.sockets[ann].plain, request);
    world.finish();
}

#[test]
fn a_socket_goes_to_the_owners_core_with_the_frames_behind_its_head() {
    let mut world = World::new(Setup { cores: 4, ..Setup::default() });
    for conversation in 1..20 {
        let owner = world.owner(conversation);
        let core = (owner + 1) % 4;
        let frame = masked(1, chat("first").to_string().as_bytes());
        // Half of the second frame comes later.
        let (now, later) = frame.split_at(7);
        let behind = [&frame[..], now].concat();
        let knock =
            Knock { core, conversation, user: conversation, behind: &behind, ..Knock::default() };
        let ann = world.connect(knock);
        assert_eq!((world.sockets[ann].core, world.contents(ann).len()), (owner, 1));
        world.bytes(ann, later);
        world.settle();
        assert_eq!(world.contents(ann), ["first", "first"]);
    }
    world.finish();
}

#[test]
fn a_peer_that_resets_on_its_way_to_the_owners_core_leaves_nothing() {
    let mut world = World::new(Setup { cores: 2, ..Setup::default() });
    let conversation = (1..).find(|&id| world.owner(id) == 1).unwrap();
    let ann = world.knock(Knock { conversation, ..Knock::default() });
    world.reset(ann);
    world.settle();
    assert_eq!(world.end(ann), Some(End::Reset));
    world.finish();
}

#[test]
fn a_store_that_cannot_read_is_a_503() {
    let mut world = World::new(Setup { history_on_connect: 3, ..Setup::default() });
    world.reader_mode = Mode::Fails;
    let ann = world.enter(1, 1);
    assert_eq!(world.http_status(ann), Some(503));
    world.reader_mode = Mode::Auto;
    let bob = world.enter_v1(2, 1);
    world.say(bob, "a");
    world.reader_mode = Mode::Held;
    let cid = world.enter_v1(3, 1);
    world.answer_load(0);
    world.settle();
    world.reader_mode = Mode::Fails;
    world.answer_load(0);
    world.settle();
    assert_eq!(world.http_status(cid), Some(503));
    world.finish();
}

#[test]
fn a_close_right_behind_the_head_is_answered_behind_the_upgrade() {
    let mut world = World::new(Setup::default());
    let behind = masked(8, &1000u16.to_be_bytes());
    let ann = world.connect(Knock { behind: &behind, ..Knock::default() });
    assert_eq!(world.http_status(ann), Some(101));
    assert_eq!(world.seen(ann).last(), Some(&Seen::Close(Some(1000), String::new())));
    world.finish();
}

#[test]
fn pending_handshakes_have_a_bound_and_give_their_places_back() {
    let limits =
        Limits { handshakes_pending: 3, handshakes_pending_per_address: 2, ..Limits::DEFAULT };
    let mut world = World::new(Setup { limits, ..Setup::default() });
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let first = world.open(0, address, 1);
    world.open(0, address, 1);
    let now = world.now;
    assert!(world.seats[0].core.accept(address, now).is_err());
    world.open(0, "192.0.2.2".parse().unwrap(), 1);
    assert!(world.seats[0].core.accept("192.0.2.3".parse().unwrap(), now).is_err());
    world.hang_up(first);
    world.open(0, "192.0.2.3".parse().unwrap(), 1);
    world.finish();
}

#[test]
fn echo_gives_back_what_it_gets_and_waits_for_slow_readers() {
    let mut world = World::new(Setup::default());
    let ann = world.open(0, "192.0.2.1".parse().unwrap(), 1);
    world.bytes(ann, head("/ws/echo?limits=serve").as_bytes());
    world.settle();
    let big = vec![b'x'; 60_000];
    world.sockets[ann].room = Some(0);
    for _ in 0..10 {
        world.bytes(ann, &masked(2, &big));
    }
    world.settle();
    assert!(!world.sockets[ann].inbound.is_empty(), "reading goes on");
    world.take(ann, None);
    let echoed = world.seen(ann).iter().filter(|seen| matches!(seen, Seen::Binary(_))).count();
    assert_eq!((echoed, world.sockets[ann].inbound.len()), (10, 0));
    world.finish();
}
