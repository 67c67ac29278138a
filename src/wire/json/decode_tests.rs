//! Tests of the decoder: a table of frames, and what serde_json says of the same bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const V1: JsonRules = JsonRules { depth: 8, keys: 32, content_chars: 10, version: Version::V1 };
const V2: JsonRules = JsonRules { version: Version::V2, ..V1 };

/// More than anybody would send; less of it where each step is interpreted.
const MANY: usize = if cfg!(miri) { 500 } else { 50_000 };

/// A request, or the refusal's code and reference.
type Outcome = Result<Request<'static>, (ErrorCode, Option<String>)>;

fn decoded(text: &[u8], rules: &JsonRules) -> Outcome {
    outcome(Decoder::default().decode(&mut text.to_vec(), rules))
}

fn outcome(result: Result<Asked<'_>, Rejected>) -> Outcome {
    match result {
        Ok(Asked::Conversation(request)) => Ok(request.into_owned()),
        Ok(Asked::Session(request)) => panic!("{request:?}"),
        Err(rejected) => Err((rejected.refusal.code, rejected.reference)),
    }
}

fn check(text: &str, expected: Command<'static>) {
    let expected = Ok(Request { reference: None, command: expected });
    assert_eq!(decoded(text.as_bytes(), &V1), expected, "{text}");
    assert_eq!(decoded(text.as_bytes(), &V2), expected, "{text}");
}

fn check_refused(text: impl AsRef<[u8]>, code: ErrorCode) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(text);
    assert_eq!(decoded(text, &V1), Err((code, None)), "{shown}");
    assert_eq!(decoded(text, &V2), Err((code, None)), "{shown}");
}

fn send(content: &str) -> Command<'static> {
    Command::Send { content: Cow::Owned(content.to_owned()), parent: None, client_msg_id: None }
}

fn react(emoji: &'static str, action: ReactAction) -> Command<'static> {
    Command::React { message: MessageId(4), emoji: Cow::Borrowed(emoji), action }
}

#[test]
fn what_the_guides_hook_sends() {
    check(r#"{"type":"chat_message","content":"Hello","parent_message_id":null}"#, send("Hello"));
    check(r#"{"type": "chat_message", "content": "Hello"}"#, send("Hello"));
    check(r#"{"type":"chat_message","content":"a","parent_message_id":7}"#, {
        Command::Send { content: "a".into(), parent: Some(MessageId(7)), client_msg_id: None }
    });
    check(r#"{"type":"typing_indicator","is_typing":true}"#, Command::Typing { is_typing: true });
    check(r#"{"type":"typing_indicator","is_typing":false}"#, Command::Typing { is_typing: false });
    check(r#"{"type":"read_receipt","message_id":456}"#, Command::Read { message: MessageId(456) });
    check(r#"{"type":"message_reaction","message_id":4,"emoji":"👍"}"#, {
        react("👍", ReactAction::Toggle)
    });
    check(r#"{"type":"message_edit","message_id":4,"content":"b"}"#, {
        Command::Edit { message: MessageId(4), content: "b".into() }
    });
    check(r#"{"type":"message_delete","message_id":4}"#, {
        Command::Delete { message: MessageId(4) }
    });
}

/// v2 asks its session; to v1 the type is unknown.
fn check_session(text: &str, expected: Result<SessionCommand<'static>, ErrorCode>) {
    let mut decoder = Decoder::default();
    let mut bytes = text.as_bytes().to_vec();
    let found = match decoder.decode(&mut bytes, &V2) {
        Ok(Asked::Session(request)) => {
            assert_eq!(request.reference.as_deref(), Some("r"), "{text}");
            Ok(request.into_owned().command)
        }
        Ok(Asked::Conversation(request)) => panic!("{request:?}"),
        Err(rejected) => Err(rejected.refusal.code),
    };
    assert_eq!(found, expected, "{text}");
    assert_eq!(decoded(text.as_bytes(), &V1), Err((ErrorCode::UnknownType, None)), "{text}");
}

#[test]
fn what_a_session_is_asked() {
    let page = |anchor, limit| Ok(SessionCommand::History(HistoryQuery { anchor, limit }));
    let check = |keys: &str, expected| {
        check_session(&format!(r#"{{"type":"history","ref":"r"{keys}}}"#), expected);
    };
    check("", page(Anchor::Newest, 50));
    check(r#","limit":null,"before":null"#, page(Anchor::Newest, 50));
    check(r#","before":9,"limit":200"#, page(Anchor::Before(MessageId(9)), 200));
    check(r#","after":0,"limit":1"#, page(Anchor::After(MessageId(0)), 1));
    check(r#","around":7"#, page(Anchor::Around(MessageId(7)), 50));
    for bad in [
        r#","limit":0"#,
        r#","limit":201"#,
        r#","limit":1000000000"#,
        r#","limit":18446744073709551615"#,
        r#","limit":"5""#,
        r#","limit":-1"#,
        r#","before":1,"after":2"#,
        r#","after":1,"around":1"#,
        r#","before":"1""#,
        r#","around":9007199254740992"#,
    ] {
        check(bad, Err(ErrorCode::Invalid));
    }
    check_session(r#"{"type":"ping","ref":"r"}"#, Ok(SessionCommand::Ping));
    let refresh =
        |token: &str| format!(r#"{{"type":"token_refresh","ref":"r","token":"{token}"}}"#);
    let longest = "t".repeat(TOKEN_BYTES_MAX);
    let token = Cow::Owned(longest.clone());
    check_session(&refresh(&longest), Ok(SessionCommand::RefreshToken { token }));
    check_session(&refresh(&format!("{longest}t")), Err(ErrorCode::Invalid));
    check_session(&refresh(""), Err(ErrorCode::Invalid));
    check_session(r#"{"type":"token_refresh","ref":"r"}"#, Err(ErrorCode::Invalid));
}

#[test]
fn a_token_is_in_no_debug_output() {
    let command = SessionCommand::RefreshToken { token: "secret".into() };
    assert!(!format!("{command:?}").contains("secret"));
}

#[test]
fn spaces_order_escapes_and_unknown_keys_do_not_matter() {
    check("\n{ \"content\" :\t\"a\" , \"type\" : \"chat_message\" }\r\n ", send("a"));
    check(r#"{"\u0074ype":"chat\u005fmessage","cont\u0065nt":"a"}"#, send("a"));
    check(r#"{"type":"chat_message","content":"a","x":[1,{"y":-1.5e3}],"id":1e300}"#, send("a"));
}

#[test]
fn contents_are_trimmed_and_measured() {
    let check_content = |content: Value, expected: Result<&str, ErrorCode>| {
        for (kind, id) in [("chat_message", Value::Null), ("message_edit", json!(4))] {
            let text = json!({"type": kind, "content": content, "message_id": id}).to_string();
            let content = match decoded(text.as_bytes(), &V1) {
                Ok(Request { command: Command::Send { content, .. }, .. })
                | Ok(Request { command: Command::Edit { content, .. }, .. }) => Ok(content),
                Ok(other) => panic!("{other:?}"),
                Err((code, _)) => Err(code),
            };
            assert_eq!(content.as_deref(), expected.as_ref().map(|text| *text), "{text}");
        }
    };
    check_content(json!(" a b \n"), Ok("a b"));
    check_content(json!("\u{3000}\u{a0}a\u{2028}\u{85}"), Ok("a"));
    // Not white space in Unicode's list.
    check_content(json!("\u{feff}"), Ok("\u{feff}"));
    check_content(json!("\0"), Ok("\0"));
    check_content(json!(r#"a"\/"#), Ok(r#"a"\/"#));
    check_content(json!(""), Err(ErrorCode::Empty));
    check_content(json!(" \n\t\u{2003}"), Err(ErrorCode::Empty));
    check_content(json!("0123456789"), Ok("0123456789"));
    check_content(json!(" 0123456789 "), Ok("0123456789"));
    check_content(json!("0123456789a"), Err(ErrorCode::TooLong));
    check_content(json!("👍👍👍👍👍👍👍👍👍👍"), Ok("👍👍👍👍👍👍👍👍👍👍"));
    check_content(json!("👍👍👍👍👍👍👍👍👍👍👍"), Err(ErrorCode::TooLong));
    check_content(json!(null), Err(ErrorCode::Invalid));
    check_content(json!(5), Err(ErrorCode::Invalid));
    check_content(json!(["a"]), Err(ErrorCode::Invalid));
}

#[test]
fn surrogates_come_in_pairs() {
    check(r#"{"type":"chat_message","content":"\ud83d\udc4d"}"#, send("👍"));
    for lone in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800", r"\udc4d\ud83d"] {
        let text = format!(r#"{{"type":"chat_message","content":"{lone}"}}"#);
        check_refused(text, ErrorCode::InvalidJson);
    }
}

#[test]
fn ids_are_integers_below_2_to_the_53() {
    let check_id = |id: &str, expected: Result<u64, ErrorCode>| {
        for text in [
            format!(r#"{{"type":"read_receipt","message_id":{id}}}"#),
            format!(r#"{{"type": "read_receipt", "message_id": {id}}}"#),
            format!(r#"{{"message_id":{id},"type":"read_receipt"}}"#),
        ] {
            let expected = expected.map(|id| Request {
                reference: None,
                command: Command::Read { message: MessageId(id) },
            });
            assert_eq!(decoded(text.as_bytes(), &V1), expected.map_err(|code| (code, None)));
        }
        let text = format!(r#"{{"type":"chat_message","content":"a","parent_message_id":{id}}}"#);
        let expected = expected.map(|id| Request {
            reference: None,
            command: Command::Send {
                content: "a".into(),
                parent: Some(MessageId(id)),
                client_msg_id: None,
            },
        });
        assert_eq!(decoded(text.as_bytes(), &V1), expected.map_err(|code| (code, None)));
    };
    check_id("0", Ok(0));
    check_id("7", Ok(7));
    check_id("9007199254740991", Ok(SAFE_INTEGER_MAX));
    check_id("9007199254740992", Err(ErrorCode::Invalid));
    check_id("18446744073709551615", Err(ErrorCode::Invalid));
    check_id("18446744073709551616", Err(ErrorCode::Invalid));
    check_id(&"9".repeat(300), Err(ErrorCode::Invalid));
    check_id("-1", Err(ErrorCode::Invalid));
    check_id("-0", Err(ErrorCode::Invalid));
    check_id("1.0", Err(ErrorCode::Invalid));
    check_id("1e2", Err(ErrorCode::Invalid));
    check_id("\"1\"", Err(ErrorCode::Invalid));
    check_id("true", Err(ErrorCode::Invalid));
    check_id("[1]", Err(ErrorCode::Invalid));
    for broken in ["01", "00", "1.", ".1", "1e", "+1", "0x1", "1_000", "", "-", "NaN", "1 2"] {
        check_id(broken, Err(ErrorCode::InvalidJson));
    }
    check_refused(r#"{"type":"read_receipt"}"#, ErrorCode::Invalid);
    check_refused(r#"{"type":"read_receipt","message_id":null}"#, ErrorCode::Invalid);
    check_refused(r#"{"type":"message_delete"}"#, ErrorCode::Invalid);
}

#[test]
fn reactions_and_typing() {
    let check_reaction = |more: &str, expected: Option<Command<'static>>| {
        let text = format!(r#"{{"type":"message_reaction","message_id":4{more}}}"#);
        match expected {
            Some(command) => check(&text, command),
            None => check_refused(text, ErrorCode::Invalid),
        }
    };
    check_reaction(r#","emoji":"👍","action":"add""#, Some(react("👍", ReactAction::Add)));
    check_reaction(r#","emoji":"👍","action":"remove""#, Some(react("👍", ReactAction::Remove)));
    check_reaction(r#","emoji":"👍","action":null"#, Some(react("👍", ReactAction::Toggle)));
    check_reaction(r#","emoji":" a ""#, Some(react(" a ", ReactAction::Toggle)));
    check_reaction(r#","emoji":"👍","action":"added""#, None);
    check_reaction(r#","emoji":"👍","action":1"#, None);
    check_reaction(r#","emoji":"""#, None);
    check_reaction(r#","emoji":1"#, None);
    check_reaction("", None);
    check_reaction(&format!(r#","emoji":"{}""#, "é".repeat(32)), {
        Some(react("éééééééééééééééééééééééééééééééé", ReactAction::Toggle))
    });
    check_reaction(&format!(r#","emoji":"{}""#, "é".repeat(33)), None);
    for is_typing in ["", r#","is_typing":null"#, r#","is_typing":1"#, r#","is_typing":"true""#] {
        let text = format!(r#"{{"type":"typing_indicator"{is_typing}}}"#);
        check_refused(text, ErrorCode::Invalid);
    }
}

#[test]
fn a_frame_is_one_object_with_a_known_type() {
    for text in ["[]", "1", "null", "\"chat_message\"", "true", " [{}] "] {
        check_refused(text, ErrorCode::Invalid);
    }
    for text in ["{}", r#"{"type":null}"#, r#"{"type":5}"#, r#"{"Type":"read_receipt"}"#] {
        check_refused(text, ErrorCode::Invalid);
    }
    for kind in ["", "Chat_message", "chat_message ", "Ping", "hello", "token", "error"] {
        check_refused(format!(r#"{{"type":"{kind}"}}"#), ErrorCode::UnknownType);
    }
}

#[test]
fn what_is_not_json() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "{]",
        r#"{"type"}"#,
        r#"{"type":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1}{"#,
        r#"{"a":1} x"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{"a":tru}"#,
        r#"{"a":nulll}"#,
        r#"{"a":"b}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":"\"}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"\0\"}",
        "{\"a\":1}\0",
        "{\"a\":\x0b1}",
        "\u{feff}{\"a\":1}",
        "{\"a\":\u{a0}1}",
        r#"{1:2}"#,
        r#"{"a":1}//"#,
        r#"{"a":[1,]}"#,
        r#"{"a":1e999}"#,
        "chat_message",
    ] {
        check_refused(text, ErrorCode::InvalidJson);
    }
    for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xed\xa0\x80\"}", b"\x80", b"{\"\xc3\":1}"] {
        check_refused(bytes, ErrorCode::InvalidJson);
    }
}

#[test]
fn keys_are_few_and_each_is_there_once() {
    let keys = |n: usize| (0..n).map(|n| format!(r#","k{n}":0"#)).collect::<String>();
    let text = |more: &str| format!(r#"{{"type":"read_receipt","message_id":1{more}}}"#);
    let fine = Command::Read { message: MessageId(1) };
    check(&text(&keys(30)), fine.clone());
    check_refused(text(&keys(31)), ErrorCode::Invalid);
    // Those of inner objects count, too.
    check(&text(&format!(r#","x":{{"z":1{}}}"#, keys(28))), fine.clone());
    check_refused(text(&format!(r#","x":[{{"z":1{}}}]"#, keys(29))), ErrorCode::Invalid);
    for doubled in [
        r#","type":"read_receipt""#,
        r#","message_id":1"#,
        r#","x":1,"y":2,"x":1"#,
        r#","x":1,"\u0078":1"#,
        r#","x":{"a":1,"a":1}"#,
        r#","x":[0,{"a":{"b":1,"c":[],"b":2}}]"#,
        r#","":1,"":2"#,
    ] {
        check_refused(text(doubled), ErrorCode::Invalid);
    }
    check(&text(r#","x":{"x":{"x":1},"y":2},"y":{"x":[{"x":1},{"x":1}]}"#), fine);
}

#[test]
fn depth_is_bounded() {
    let text = |open: &str, close: &str, levels: usize| {
        let (open, close) = (open.repeat(levels), close.repeat(levels));
        format!(r#"{{"type":"read_receipt","message_id":1,"x":{open}0{close}}}"#)
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), ("[0,", ",0]")] {
        check(&text(open, close, 7), Command::Read { message: MessageId(1) });
        for levels in [8, 9, MANY / 50, MANY / 10] {
            check_refused(text(open, close, levels), ErrorCode::Invalid);
        }
    }
    check_refused("[".repeat(5000), ErrorCode::Invalid);
    check_refused("[".repeat(500), ErrorCode::InvalidJson);
}

#[test]
fn references_are_read_and_echoed() {
    let check = |rules: &JsonRules, more: &str, expected: Result<Option<&str>, Option<&str>>| {
        // A reaction without an emoji: wrong in any case, so only the reference matters.
        let wrong = format!(r#"{{"type":"message_reaction","message_id":1{more}}}"#);
        let right = format!(r#"{{"type":"message_delete","message_id":1{more}}}"#);
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let (expected_right, expected_wrong) = match expected {
            Ok(name) => (
                Ok(Request {
                    reference: name.filter(|_| more.contains("ref")).map(|n| n.to_owned().into()),
                    command: Command::Delete { message: MessageId(1) },
                }),
                owned(name),
            ),
            Err(name) => (Err((ErrorCode::Invalid, owned(name))), owned(name)),
        };
        assert_eq!(decoded(right.as_bytes(), rules), expected_right, "{right}");
        let expected_wrong = Err((ErrorCode::Invalid, expected_wrong));
        assert_eq!(decoded(wrong.as_bytes(), rules), expected_wrong, "{wrong}");
    };
    let long = format!(r#","ref":"{}""#, "r".repeat(65));
    let full = "r".repeat(64);
    check(&V2, r#","ref":"a1""#, Ok(Some("a1")));
    check(&V2, r#","ref":"""#, Ok(Some("")));
    check(&V2, r#","ref":null"#, Ok(None));
    check(&V2, &format!(r#","ref":"{full}""#), Ok(Some(&full)));
    check(&V2, &long, Err(None));
    check(&V2, r#","ref":7"#, Err(None));
    check(&V2, r#","client_msg_id":"c","ref":7"#, Err(Some("c")));
    check(&V2, r#","client_msg_id":"c","ref":"a""#, Ok(Some("a")));
    check(&V1, &long, Ok(None));
    check(&V1, r#","client_msg_id":"c""#, Ok(Some("c")));
    check(&V1, "", Ok(None));
}

#[test]
fn client_msg_ids_have_1_to_64_bytes() {
    let check = |id: Value, expected: Result<Option<&str>, ErrorCode>| {
        let text = json!({"type": "chat_message", "content": "a", "client_msg_id": id}).to_string();
        let id = match decoded(text.as_bytes(), &V1) {
            Ok(Request { command: Command::Send { client_msg_id, .. }, .. }) => Ok(client_msg_id),
            Ok(other) => panic!("{other:?}"),
            Err((code, _)) => Err(code),
        };
        assert_eq!(id.as_ref().map(Option::as_deref), expected.as_ref().copied(), "{text}");
    };
    check(json!("c-17"), Ok(Some("c-17")));
    check(json!(null), Ok(None));
    check(json!("é".repeat(32)), Ok(Some(&"é".repeat(32))));
    check(json!("é".repeat(33)), Err(ErrorCode::Invalid));
    check(json!(""), Err(ErrorCode::Invalid));
    check(json!(17), Err(ErrorCode::Invalid));
}

#[test]
fn a_decoder_forgets_each_frame() {
    let mut decoder = Decoder::default();
    let big = json!({"type": "chat_message", "content": "a", "x": vec![0; MANY]}).to_string();
    let frames: [(&str, Outcome); 5] = [
        (&big, Ok(Request { reference: None, command: send("a") })),
        (r#"{"type":"chat_message","content":"b"#, Err((ErrorCode::InvalidJson, None))),
        (r#"{"type":"chat_message","content":"\"c""#, Err((ErrorCode::InvalidJson, None))),
        (r#"{"type":"chat_message"}"#, Err((ErrorCode::Invalid, None))),
        (r#"{"content":"\nd","type":"chat_message"}"#, {
            Ok(Request { reference: None, command: send("d") })
        }),
    ];
    for _ in 0..3 {
        for (text, expected) in &frames {
            let mut text = text.as_bytes().to_vec();
            assert_eq!(outcome(decoder.decode(&mut text, &V1)), *expected);
            assert!(decoder.tape.0.is_empty() && decoder.tape.0.capacity() <= TAPE_NODES_KEPT);
        }
    }
}

#[test]
fn the_tape_is_kept_from_frame_to_frame() {
    let mut decoder = Decoder::default();
    let place = decoder.tape.0.as_ptr();
    for text in
        [r#"{"type":"chat_message","content":"a"}"#, "{", r#"{"type":1,"x":[[1,2],{"y":3}]}"#]
    {
        let _ = decoder.decode(&mut text.as_bytes().to_vec(), &V1);
        assert_eq!(decoder.tape.0.as_ptr(), place);
    }
}

/// Numbers and bytes around those that the short cut knows.
fn almost_verbatim() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        (0..1000_u64).prop_map(|n| n.to_string()),
        (SAFE_INTEGER_MAX - 9..SAFE_INTEGER_MAX + 9).prop_map(|n| n.to_string()),
        "[0-9]{0,20}",
        "-?[0-9]{1,3}(\\.[0-9])?(e[0-9])?",
    ];
    let text = (id, any::<bool>(), any::<bool>()).prop_map(|(id, spaced, typing)| {
        let (colon, comma) = if spaced { (": ", ", ") } else { (":", ",") };
        if typing {
            let is_typing = id.len() > 1;
            format!(r#"{{"type"{colon}"typing_indicator"{comma}"is_typing"{colon}{is_typing}}}"#)
        } else {
            format!(r#"{{"type"{colon}"read_receipt"{comma}"message_id"{colon}{id}}}"#)
        }
    });
    let change = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (text, change).prop_map(|(text, change)| {
        let mut bytes = text.into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 4000 }, ..ProptestConfig::default() })]

    /// Whatever the short cut recognises, the parser finds the same in it.
    #[test]
    fn the_short_cut_finds_what_the_parser_finds(text in almost_verbatim()) {
        if let Some(command) = verbatim::command(&text) {
            for rules in [V1, V2] {
                let parsed = outcome(Decoder::default().parse(&mut text.clone(), &rules));
                let expected = Ok(Request { reference: None, command: command.clone() });
                prop_assert_eq!(parsed, expected);
            }
        }
    }
}

#[test]
fn the_short_cut_is_taken() {
    for (text, expected) in [
        (r#"{"type":"read_receipt","message_id":0}"#, true),
        (r#"{"type":"read_receipt","message_id":9007199254740991}"#, true),
        (r#"{"type": "read_receipt", "message_id": 9007199254740991}"#, true),
        (r#"{"type":"typing_indicator","is_typing":false}"#, true),
        (r#"{"type": "typing_indicator", "is_typing": true}"#, true),
        (r#"{"type":"read_receipt","message_id":9007199254740992}"#, false),
        (r#"{"type":"read_receipt", "message_id":1}"#, false),
    ] {
        assert_eq!(verbatim::command(text.as_bytes()).is_some(), expected, "{text}");
    }
}
