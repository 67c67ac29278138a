//! The session's rules as tables, each table run with the bytes cut in every way that matters.

use proptest::prelude::*;

use super::*;

const SMALL: SessionLimits =
    SessionLimits { frame_bytes: 300, message_bytes: 400, message_fragments: 4 };
const SERVE: SessionLimits =
    SessionLimits { frame_bytes: 65_536, message_bytes: 65_536, message_fragments: 64 };

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Violation(CloseReason),
}
use Seen::*;

fn text(text: &str) -> Seen {
    Text(text.to_owned())
}

/// A masked frame, with the minimal length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle @ 126..=65_535 => {
            out.push(0xfe);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0xff);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let at = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[at..], mask);
    out
}

/// Feeds a piece and notes what is found.
fn feed(session: &mut Session, piece: &[u8], seen: &mut Vec<Seen>) {
    let mut input = piece.to_vec();
    let mut at = 0;
    loop {
        let Decoded { consumed, found } = session.decode(&mut input[at..]);
        at += consumed;
        seen.push(match found {
            Found::NeedMore => {
                assert_eq!(at, input.len(), "what is needed is more, so all is used up");
                return;
            }
            Found::Text(bytes) => Text(std::str::from_utf8(bytes).unwrap().to_owned()),
            Found::Binary(bytes) => Binary(bytes.to_vec()),
            Found::Ping(bytes) => Ping(bytes.to_vec()),
            Found::Pong(bytes) => Pong(bytes.to_vec()),
            Found::Close(close) => Close(close.code),
            Found::Violation(reason) => Violation(reason),
        });
    }
}

fn decode_cut(limits: SessionLimits, stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut session = Session::new(limits);
    let mut seen = Vec::new();
    let mut from = 0;
    for &cut in cuts {
        feed(&mut session, &stream[from..cut], &mut seen);
        from = cut;
    }
    feed(&mut session, &stream[from..], &mut seen);
    seen
}

/// At once, byte by byte, and in two parts at every place.
fn check_within(limits: SessionLimits, frames: &[Vec<u8>], expected: &[Seen]) {
    let stream = frames.concat();
    assert_eq!(decode_cut(limits, &stream, &[]), expected, "at once");
    let each: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(decode_cut(limits, &stream, &each), expected, "byte by byte");
    for cut in 0..=stream.len() {
        assert_eq!(decode_cut(limits, &stream, &[cut]), expected, "cut at {cut}");
    }
}

fn check(frames: &[Vec<u8>], expected: &[Seen]) {
    check_within(SMALL, frames, expected);
}

#[test]
fn messages_come_out_whole_however_they_were_cut() {
    check(&[], &[]);
    check(&[frame(0x81, b"Hello")], &[text("Hello")]);
    check(&[frame(0x81, b"")], &[text("")]);
    check(&[frame(0x82, b"\x00\xff")], &[Binary(vec![0, 255])]);
    check(&[frame(0x81, "κόσμε 👍".as_bytes())], &[text("κόσμε 👍")]);
    let long = "x".repeat(300);
    check(&[frame(0x81, long.as_bytes()), frame(0x81, b"2")], &[text(&long), text("2")]);
    check(&[frame(0x01, b"Hel"), frame(0x80, b"lo")], &[text("Hello")]);
    check(&[frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")], &[text("")]);
    check(
        &[frame(0x02, b"a"), frame(0x00, b"b"), frame(0x80, b"c"), frame(0x81, b"d")],
        &[Binary(b"abc".to_vec()), text("d")],
    );
    // A character cut by a fragment.
    check(&[frame(0x01, b"\xe2"), frame(0x00, b"\x82"), frame(0x80, b"\xac")], &[text("€")]);
}

#[test]
fn control_frames_may_interrupt_a_message() {
    check(&[frame(0x89, b""), frame(0x8a, b"pong")], &[Ping(vec![]), Pong(b"pong".to_vec())]);
    check(&[frame(0x89, &[7; 125])], &[Ping(vec![7; 125])]);
    check(
        &[frame(0x01, b"\xe2\x82"), frame(0x89, b"p\xff"), frame(0x8a, b""), frame(0x80, b"\xac!")],
        &[Ping(b"p\xff".to_vec()), Pong(vec![]), text("€!")],
    );
    check(&[frame(0x01, b"half"), frame(0x88, b"\x03\xe8")], &[Close(Some(1000))]);
}

#[test]
fn nothing_is_decoded_after_a_close_or_a_violation() {
    let broken = Violation(CloseReason::ProtocolError);
    check(&[frame(0x88, b""), frame(0x81, b"late")], &[Close(None)]);
    check(&[frame(0x88, b"\x0f\xa1reason"), frame(0x88, b"")], &[Close(Some(4001))]);
    check(
        &[frame(0x81, b"early"), frame(0x83, b""), frame(0x81, b"late")],
        &[text("early"), broken],
    );
}

#[test]
fn broken_frames_are_1002() {
    let broken = &[Violation(CloseReason::ProtocolError)];
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0x83, 0x87, 0x8b, 0x8f, 0x09, 0x08, 0x0a] {
        check(&[frame(first, b"x")], broken);
    }
    check(&[b"\x81\x05Hello".to_vec()], broken); // unmasked
    check(&[frame(0x89, &[0; 126])], broken);
    check(&[b"\x81\xfe\x00\x05\0\0\0\0Hello".to_vec()], broken); // not minimal
    check(&[b"\x82\xff\x80\0\0\0\0\0\0\x01\0\0\0\0".to_vec()], broken); // 2^63 + 1
    // Continuation of nothing; a new message inside a message.
    check(&[frame(0x80, b"x")], broken);
    check(&[frame(0x00, b"x")], broken);
    check(&[frame(0x01, b"x"), frame(0x81, b"y")], broken);
    check(&[frame(0x01, b"x"), frame(0x02, b"y")], broken);
    check(&[frame(0x81, b"x"), frame(0x80, b"y")], &[text("x"), broken[0].clone()]);
    // Close frames: half a code, codes that must not travel.
    check(&[frame(0x88, b"\x03")], broken);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535_u16] {
        check(&[frame(0x88, &code.to_be_bytes())], broken);
    }
}

#[test]
fn invalid_utf8_is_1007() {
    let invalid = &[Violation(CloseReason::InvalidUtf8)];
    check(&[frame(0x81, b"a\xffb")], invalid);
    check(&[frame(0x81, b"cut off \xe2\x82")], invalid);
    check(&[frame(0x81, b"\xed\xa0\x80")], invalid);
    check(&[frame(0x01, b"\xe2"), frame(0x80, b"x")], invalid);
    check(&[frame(0x01, b"\xe2"), frame(0x80, b"")], invalid);
    check(&[frame(0x88, b"\x03\xe8\xe2\x82")], invalid);
}

#[test]
fn invalid_utf8_is_found_inside_a_frame() {
    // Autobahn 6.4.3 and 6.4.4: the frame never ends, the bad byte has arrived.
    let stream = frame(0x81, b"valid \xf4\x90 and what would follow");
    let bad_byte = 6 + 7;
    let invalid = [Violation(CloseReason::InvalidUtf8)];
    assert_eq!(decode_cut(SMALL, &stream[..bad_byte], &[3, 9]), []);
    assert_eq!(decode_cut(SMALL, &stream[..bad_byte + 1], &[3, 9]), invalid);
    assert_eq!(decode_cut(SMALL, &stream[..bad_byte + 1], &[]), invalid);
}

#[test]
fn caps_are_told_at_the_first_header_over_them() {
    let too_big = [Violation(CloseReason::TooBig)];
    let head_only = |first: u8, payload_bytes: usize| {
        let mut stream = frame(first, &vec![b'x'; payload_bytes]);
        stream.truncate(stream.len() - payload_bytes);
        stream
    };
    check(&[head_only(0x81, 301)], &too_big);
    check(&[head_only(0x82, 70_000)], &too_big);
    check(&[frame(0x01, &[b'x'; 300]), head_only(0x80, 101)], &too_big);
    check(&[frame(0x01, &[b'x'; 300]), frame(0x80, &[b'x'; 100])], &[text(&"x".repeat(400))]);
    // A frame that announces almost 2^63 bytes costs nothing.
    check(&[b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec()], &too_big);
    // Production limits: 65,536 bytes pass, 65,537 do not (Daphne CVE-2026-44545).
    let full = frame(0x82, &vec![1; 65_536]);
    for in_head in 0..=if cfg!(miri) { 0 } else { 15 } {
        assert_eq!(decode_cut(SERVE, &full, &[in_head, 4_000]), [Binary(vec![1; 65_536])]);
    }
    assert_eq!(decode_cut(SERVE, &head_only(0x82, 65_537), &[]), too_big);
    // 160 MiB in fragments (fastwebsockets #100).
    let flood: Vec<u8> = (0..11)
        .flat_map(|n| frame(if n == 0 { 0x02 } else { 0x00 }, &vec![0; 16 * 1024]))
        .collect();
    assert_eq!(decode_cut(SERVE, &flood, &[]), too_big);
}

#[test]
fn the_fragment_over_the_cap_is_a_flood_empty_ones_count() {
    let flood = [Violation(CloseReason::FragmentFlood)];
    let fragments = |count: usize, payload: &[u8]| -> Vec<Vec<u8>> {
        (0..count).map(|n| frame(if n == 0 { 0x01 } else { 0x00 }, payload)).collect()
    };
    check(&fragments(5, b"x"), &flood);
    check(&fragments(5, b""), &flood);
    check(&fragments(4, b"x"), &[]);
    // ws CVE-2026-48779.
    assert_eq!(decode_cut(SERVE, &fragments(65, b"x").concat(), &[]), flood);
    assert_eq!(decode_cut(SERVE, &fragments(65, b"").concat(), &[]), flood);
    let mut last = fragments(63, b"x");
    last.push(frame(0x80, b"x"));
    assert_eq!(decode_cut(SERVE, &last.concat(), &[]), [text(&"x".repeat(64))]);
}

#[test]
fn a_whole_frame_is_found_where_it_lies() {
    let mut input = [frame(0x81, b"first"), frame(0x81, b"second")].concat();
    let place = input.as_ptr() as usize;
    let mut session = Session::new(SERVE);
    let Decoded { consumed, found: Found::Text(first) } = session.decode(&mut input) else {
        panic!("a whole text frame is found");
    };
    assert_eq!((consumed, first.as_ptr() as usize - place), (11, 6));
    let decoded = session.decode(&mut input[11..]);
    assert_eq!((decoded.consumed, decoded.found), (12, Found::Text(&mut b"second".to_owned())));
    assert_eq!(session.buffered_bytes(), 0);
}

#[test]
fn memory_follows_what_arrived_and_goes_back() {
    let mut session = Session::new(SERVE);
    let mut seen = Vec::new();
    let stream = frame(0x82, &vec![9; 60_000]);
    // The head announces 60,000 bytes; 100 arrived.
    feed(&mut session, &stream[..108], &mut seen);
    assert!(session.buffered_bytes() <= 200, "{}", session.buffered_bytes());
    for piece in stream[108..].chunks(1_000) {
        feed(&mut session, piece, &mut seen);
        assert!(session.buffered_bytes() <= 60_000);
    }
    assert_eq!(seen, [Binary(vec![9; 60_000])]);
    assert_eq!(session.buffered_bytes(), 0, "given back by the call that needs more");

    // Interrupted by a ping, the message stays and the ping goes.
    feed(&mut session, &frame(0x01, b"half"), &mut seen);
    let ping = frame(0x89, &[1; 125]);
    feed(&mut session, &ping[..50], &mut seen);
    feed(&mut session, &ping[50..], &mut seen);
    feed(&mut session, &frame(0x80, b"half"), &mut seen);
    assert_eq!(seen[1..], [Ping(vec![1; 125]), text("halfhalf")]);
    assert_eq!(session.buffered_bytes(), 0);
}

#[test]
fn an_idle_session_is_small() {
    assert_eq!(size_of::<Session>(), 72);
}

#[test]
fn a_message_in_progress_can_be_timed() {
    let mut session = Session::new(SERVE);
    let mut seen = Vec::new();
    let mut check = |piece: &[u8], in_progress: bool, begun: u32| {
        feed(&mut session, piece, &mut seen);
        let found = (session.message_in_progress(), session.messages_begun());
        assert_eq!(found, (in_progress, begun), "{piece:02x?}");
    };
    let (hello, ping) = (frame(0x81, b"Hello"), frame(0x89, b"ping"));
    check(b"", false, 0);
    check(&hello, false, 0);
    check(&hello[..1], true, 1);
    check(&hello[1..8], true, 1);
    // Its end and the start of the next in one piece: another one is in progress now.
    check(&[&hello[8..], &hello[..3]].concat(), true, 2);
    check(&hello[3..], false, 2);
    check(&frame(0x01, b"part"), true, 3);
    // A ping in between, whole or in parts, is no progress.
    check(&ping, true, 3);
    check(&ping[..2], true, 3);
    check(&ping[2..], true, 3);
    check(&frame(0x80, b"rest"), false, 3);
    check(&ping[..2], true, 4);
    check(&ping[2..], false, 4);
    check(&frame(0x01, b"part"), true, 5);
    check(&frame(0x88, b""), false, 5);
    check(&hello[..3], false, 5);
    assert!(session.is_over());
}

/// Any frames, good or bad, as they might come.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81, 0x01, 0x80, 0x00, 0x82, 0x02, 0x89, 0x8a]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..160),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        frames in prop::collection::vec(any_frame(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode_cut(SMALL, &stream, &cuts), decode_cut(SMALL, &stream, &[]));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        stream in prop::collection::vec(any::<u8>(), 0..600),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(stream.len() + 1);
        prop_assert_eq!(decode_cut(SMALL, &stream, &[cut]), decode_cut(SMALL, &stream, &[]));
    }
}
