//! A request head and whatever follows it: the same outcome however it is cut, each byte looked at
//! once, and whatever the outcome, an answer that is proper HTTP.

use std::net::{IpAddr, Ipv4Addr};

use loquat::limits::Limits;
use loquat::wire::upgrade::{
    Head, HeadBytes, HeadProgress, HeadReader, Listening, Refused, UpgradeRequest, accept_response,
    client_address, origin_allowed, parse, refuse_response,
};

use super::{cuts, pieces};

const LIMITS: Limits = Limits { handshake_bytes: 2048, handshake_headers: 16, ..Limits::DEFAULT };

/// The head's length and what it is; `None`: not complete.
type Outcome = Result<Option<(usize, Head)>, Refused>;

pub fn run(data: &[u8]) {
    let mut outcomes = cuts(data).into_iter().map(|cuts| read(&pieces(data, &cuts)));
    let Some(outcome) = outcomes.next() else { unreachable!("there is one way at least") };
    for cut in outcomes {
        assert_eq!(cut, outcome, "the cuts change what is found");
    }
    match outcome {
        Ok(None) => assert!(data.len() <= LIMITS.handshake_bytes),
        Ok(Some((head_bytes, head))) => {
            check_head(&data[..head_bytes]);
            if let Head::Upgrade(request) = head {
                check_upgrade(&request);
            }
        }
        Err(refused) => check_refusal(refused),
    }
}

fn read(pieces: &[&[u8]]) -> Outcome {
    let mut reader = HeadReader::new(LIMITS.handshake_bytes);
    for (n, piece) in pieces.iter().enumerate() {
        if let HeadProgress::Complete(bytes) = reader.push(piece)? {
            assert_eq!(reader.scanned_bytes(), bytes.head_bytes(), "a byte is scanned once");
            assert_eq!(bytes.clone().into_bytes(), pieces[..=n].concat(), "no byte is lost");
            return finish(&bytes).map(Some);
        }
    }
    assert_eq!(reader.scanned_bytes(), pieces.concat().len(), "a byte is scanned once");
    Ok(None)
}

fn finish(bytes: &HeadBytes) -> Result<(usize, Head), Refused> {
    parse(bytes, &LIMITS).map(|head| (bytes.head_bytes(), head))
}

/// What no head that passes may hold.
fn check_head(head: &[u8]) {
    assert!(head.ends_with(b"\r\n\r\n") && head.len() <= LIMITS.handshake_bytes);
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(head[at - 1], b'\r', "a bare LF"),
            b'\r' => assert_eq!(head[at + 1], b'\n', "a bare CR"),
            b'\t' => {}
            _ => assert!(byte >= b' ' && byte != 0x7f && byte != 0x85, "a control byte"),
        }
    }
    let lower = head.to_ascii_lowercase();
    let count = |needle: &[u8]| lower.windows(needle.len()).filter(|w| *w == needle).count();
    assert_eq!(count(b"\r\n "), 0, "a fold");
    assert_eq!(count(b"\r\ntransfer-encoding:"), 0, "a body");
    assert!(count(b"\r\nhost:") <= 1 && count(b"\r\ncontent-length:") <= 1, "doubled");
}

fn check_upgrade(request: &UpgradeRequest) {
    let mut answer = Vec::new();
    accept_response(&mut answer, &request.key, request.subprotocol);
    let (status, body) = split_answer(&answer);
    assert!(status == 101 && body.is_empty());
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let trusted = [peer.into()];
    let (forwarded, real) = (request.x_forwarded_for.as_deref(), request.x_real_ip.as_deref());
    assert_eq!(client_address(peer, forwarded, real, &[]), peer);
    client_address(peer, forwarded, real, &trusted);
    let origin = request.origin.as_deref();
    for listening in [Listening::Loopback, Listening::Public] {
        let by_default = origin_allowed(origin, &request.host, &[], listening);
        let listed = origin_allowed(origin, &request.host, &["*".to_owned()], listening);
        assert!(listed || !by_default, "a list never takes away");
    }
}

fn check_refusal(refused: Refused) {
    let mut answer = Vec::new();
    refuse_response(&mut answer, refused);
    let (status, body) = split_answer(&answer);
    assert!(status == refused.status() && status >= 400);
    assert!(body.starts_with(b"{") && body.ends_with(b"}"));
}

/// Status and body of an answer, whose head must be lines and whose length must be true.
fn split_answer(answer: &[u8]) -> (u16, &[u8]) {
    let Ok(text) = std::str::from_utf8(answer) else { panic!("an answer is text") };
    let Some((head, body)) = text.split_once("\r\n\r\n") else { panic!("a head ends") };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    assert_eq!(length.map_or(Ok(0), str::parse), Ok(body.len()));
    let Some(Ok(status)) = head.get(9..12).map(str::parse) else { panic!("a status") };
    (status, body.as_bytes())
}
