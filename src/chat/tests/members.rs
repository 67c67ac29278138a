//! Removal and changed roles of those who are here.

use super::Stage;
use super::stage::{send, user};
use crate::model::{Command, MessageId, Role};

#[test]
fn a_removed_member_hears_nothing_more() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    let (bob, tab) = (stage.join_v2(2), stage.join(2));
    let id = stage.post(ann, "x");
    stage.pass(100);
    stage.handle(tab, Command::Typing { is_typing: true });
    stage.take();
    stage.chat.set_member(&user(2), None, stage.now, &mut stage.out);
    stage.check(&["but 2: U2 typing false", "close 2 4004", "close 3 4004"]);
    stage.handle_ref(bob, "r", send("still here?"));
    stage.read(bob, id);
    stage.leave(bob);
    stage.leave(tab);
    stage.check(&[]);
    assert_eq!((stage.chat.user_of(bob), stage.chat.version_of(bob)), (None, None));
    stage.pass(50);
    stage.check(&["all: 2 offline"]);
}

#[test]
fn a_kicked_user_may_come_back() {
    let mut stage = Stage::new();
    stage.join(1);
    stage.join(2);
    stage.pass(100);
    stage.take();
    stage.chat.kick(&user(2), stage.now, &mut stage.out);
    stage.chat.kick(&user(2), stage.now, &mut stage.out);
    stage.chat.kick(&user(9), stage.now, &mut stage.out);
    stage.check(&["close 2 4004"]);
    let bob = stage.join(2);
    stage.pass(1_000);
    stage.check(&["one 3: 2 online", "one 3: 1 online"]);
    stage.send(bob, "back");
    assert_eq!(stage.told()[0], "#1 message 1 by 2: back");
}

#[test]
fn a_new_role_holds_at_once() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join(2));
    let id = stage.send(ann, "x");
    stage.pass(100);
    stage.handle(bob, Command::Typing { is_typing: true });
    stage.take();
    stage.chat.set_member(&user(2), Some(Role::ReadOnly), stage.now, &mut stage.out);
    stage.check(&["but 2: U2 typing false"]);
    stage.handle(bob, send("x"));
    stage.handle(bob, Command::Typing { is_typing: true });
    stage.handle(bob, Command::Typing { is_typing: false });
    stage.check(&["to 2: forbidden -", "to 2: forbidden -"]);
    stage.chat.set_member(&user(2), Some(Role::Moderator), stage.now, &mut stage.out);
    stage.handle(bob, Command::Delete { message: MessageId(id.0) });
    stage.check(&["#2 delete 1 by 2"]);
}
