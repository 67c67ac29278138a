//! The request target of an upgrade: which conversation, and the query.

use percent_encoding::percent_decode_str;

use super::refused::Refused;
use super::token::TokenField;
use crate::model::{ConversationId, Epoch, ResumeFrom, Seq, Version};

/// What a socket can be opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// `/ws/chat/{conversation_id}/`
    Chat { conversation: ConversationId },
    /// `/ws/echo`, for conformance suites; whether there is such a thing is the server's choice.
    Echo(EchoLimits),
}

/// Which limits an echo socket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoLimits {
    Generous,
    /// `?limits=serve`: those of production.
    Serve,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub path: Path,
    pub version: Version,
    pub token: TokenField,
    pub resume: Option<ResumeFrom>,
}

impl Target {
    pub fn parse(target: &str) -> Result<Target, Refused> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query(query);
        let path = parse_path(path, query)?;
        let version = match query.first("v") {
            None | Some("1") => Version::V1,
            Some("2") => Version::V2,
            Some(_) => return Err(Refused::Malformed("v is 1 or 2")),
        };
        let token =
            query.first("token").map_or(TokenField::Missing, TokenField::from_percent_encoded);
        let resume = match version {
            Version::V1 => None,
            Version::V2 => parse_resume(query)?,
        };
        Ok(Target { path, version, token, resume })
    }
}

/// An epoch without a seq says nothing.
fn parse_resume(query: Query<'_>) -> Result<Option<ResumeFrom>, Refused> {
    let since = query.first("since").map(parse_since).transpose()?;
    let epoch = query.first("epoch").map(parse_epoch).transpose()?;
    Ok(since.map(|since| ResumeFrom { since, epoch }))
}

fn parse_path(path: &str, query: Query<'_>) -> Result<Path, Refused> {
    let path = path.strip_prefix("/ws/").ok_or(Refused::NotFound)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == "echo" {
        return match query.first("limits") {
            None => Ok(Path::Echo(EchoLimits::Generous)),
            Some("serve") => Ok(Path::Echo(EchoLimits::Serve)),
            Some(_) => Err(Refused::Malformed("limits is serve or absent")),
        };
    }
    let id = path.strip_prefix("chat/").ok_or(Refused::NotFound)?;
    let id = percent_decode_str(id).decode_utf8().map_err(|_| Refused::NotFound)?;
    let conversation = ConversationId::parse(&id).map_err(|_| Refused::NotFound)?;
    Ok(Path::Chat { conversation })
}

fn parse_since(text: &str) -> Result<Seq, Refused> {
    let bad = Refused::Malformed("since is not a seq");
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad);
    }
    text.parse().map(Seq).map_err(|_| bad)
}

fn parse_epoch(text: &str) -> Result<Epoch, Refused> {
    let bad = Refused::Malformed("epoch is not eight hexadecimal digits");
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad);
    }
    u32::from_str_radix(text, 16).map(Epoch).map_err(|_| bad)
}

#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The first value under this name, as it stands there.
    fn first(self, name: &str) -> Option<&'a str> {
        self.0.split('&').find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(id: &str) -> Result<Path, Refused> {
        Ok(Path::Chat { conversation: ConversationId::parse(id).unwrap() })
    }

    #[test]
    fn paths_lead_to_a_conversation_or_nowhere() {
        let check = |target: &str, expected: Result<Path, Refused>| {
            assert_eq!(Target::parse(target).map(|t| t.path), expected, "{target}");
        };
        check("/ws/chat/1/?token=x", chat("1"));
        check("/ws/chat/1?token=x", chat("1"));
        check("/ws/chat/1", chat("1"));
        check("/ws/chat/team_a-1/", chat("team_a-1"));
        check("/ws/chat/team%5Fa%2D1/", chat("team_a-1"));
        check("/ws/echo", Ok(Path::Echo(EchoLimits::Generous)));
        check("/ws/echo/", Ok(Path::Echo(EchoLimits::Generous)));
        check("/ws/echo?limits=serve", Ok(Path::Echo(EchoLimits::Serve)));
        check("/ws/echo?limits=none", Err(Refused::Malformed("limits is serve or absent")));
        for target in [
            "",
            "/",
            "*",
            "/ws",
            "/ws/",
            "/ws/chat",
            "/ws/chat/",
            "/ws/chat//",
            "/ws//chat/1/",
            "/ws/chat/1//",
            "/ws/chat/1/2",
            "/ws/chat/01/",
            "/ws/chat/9007199254740992/",
            "/ws/chat/a.b/",
            "/ws/chat/a%2Fb/",
            "/ws/chat/%ff/",
            "/ws/chat/1#x",
            "/WS/chat/1/",
            "/ws/chat/../echo",
            "http://host/ws/chat/1/",
            "ws/chat/1/",
            "/api/ws/chat/1/",
        ] {
            check(target, Err(Refused::NotFound));
        }
        check(&format!("/ws/chat/{}/", "a".repeat(65)), Err(Refused::NotFound));
    }

    #[test]
    fn the_query_is_read_by_its_first_values() {
        let check = |query: &str, version: Version, since: Option<u64>, epoch: Option<u32>| {
            let target = Target::parse(&format!("/ws/chat/1/?{query}")).unwrap();
            let resume =
                since.map(|since| ResumeFrom { since: Seq(since), epoch: epoch.map(Epoch) });
            assert_eq!((target.version, target.resume), (version, resume), "{query}");
        };
        check("", Version::V1, None, None);
        check("v=1", Version::V1, None, None);
        check("v=2", Version::V2, None, None);
        check("v=2&v=1", Version::V2, None, None);
        check("token=x&v=2&since=41&epoch=9f3c61d2", Version::V2, Some(41), Some(0x9f3c_61d2));
        check("v=2&since=0", Version::V2, Some(0), None);
        check("since=junk&epoch=junk", Version::V1, None, None);

        let refuse = |query: &str| {
            let found = Target::parse(&format!("/ws/chat/1/?{query}"));
            assert!(matches!(found, Err(Refused::Malformed(_))), "{query}");
        };
        refuse("v=3");
        refuse("v=");
        refuse("v=2&since=");
        refuse("v=2&since=-1");
        refuse("v=2&since=+1");
        refuse("v=2&since=99999999999999999999");
        refuse("v=2&epoch=9f3c61d");
        refuse("v=2&epoch=+f3c61d2");
    }

    #[test]
    fn the_first_token_counts() {
        let check = |query: &str, expected: TokenField| {
            let found = Target::parse(&format!("/ws/chat/1/?{query}")).map(|t| t.token);
            assert_eq!(found, Ok(expected), "{query}");
        };
        check("token=a.b.c", TokenField::new("a.b.c"));
        check("x=1&token=a%2Eb&token=second", TokenField::new("a.b"));
        check("token=a=b", TokenField::new("a=b"));
        check("token=a+b", TokenField::new("a+b"));
        check("token=", TokenField::Missing);
        check("token", TokenField::Missing);
        check("mytoken=a", TokenField::Missing);
        check("token=%ff", TokenField::Unreadable);
    }
}
