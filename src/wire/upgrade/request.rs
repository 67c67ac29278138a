//! A whole head → an upgrade, a plain request, or a refusal. Parsed once, by httparse; this adds what
//! a server behind proxies needs: no bodies, nothing doubled that matters, text where text belongs.

use super::accept::{Subprotocol, WebSocketKey};
use super::head_reader::HeadBytes;
use super::refused::Refused;
use super::target::{Path, Target};
use super::token::TokenField;
use crate::limits::Limits;
use crate::model::{ResumeFrom, Version};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    Upgrade(Box<UpgradeRequest>),
    /// Any other request without a body: hand it to the HTTP side with every byte that was read.
    Plain,
}

/// A request for a socket, correct by itself. Whether its origin and token are good is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    pub path: Path,
    pub version: Version,
    pub token: TokenField,
    /// v2 only.
    pub resume: Option<ResumeFrom>,
    pub subprotocol: Subprotocol,
    pub key: WebSocketKey,
    pub host: String,
    pub origin: Option<String>,
    /// All hops, first to last.
    pub x_forwarded_for: Option<String>,
    pub x_real_ip: Option<String>,
}

/// Reads a head.
pub fn parse(bytes: &HeadBytes, limits: &Limits) -> Result<Head, Refused> {
    let mut headers = vec![httparse::EMPTY_HEADER; limits.handshake_headers];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes.head()) {
        Ok(httparse::Status::Complete(used)) if used == bytes.head_bytes() => {}
        Ok(_) => return Err(Refused::Malformed("the head does not end where it should")),
        Err(error) => return Err(refused_by(error)),
    }
    let fields = Fields::read(request.headers)?;
    fields.refuse_body()?;
    let is_http_1_1 = request.version == Some(1);
    if is_http_1_1 && fields.host.is_none() {
        return Err(Refused::Malformed("Host is missing"));
    }
    if !fields.asks_for_websocket {
        // Some proxy took the hop-by-hop headers away: a 404 would hide that.
        if fields.key.is_some() {
            return Err(Refused::Malformed("Upgrade: websocket is missing (a proxy's doing?)"));
        }
        return Ok(Head::Plain);
    }
    if !is_http_1_1 || request.method != Some("GET") {
        return Err(Refused::Malformed("an upgrade is a GET of HTTP/1.1"));
    }
    if !fields.connection_upgrade {
        return Err(Refused::Malformed("Connection: upgrade is missing"));
    }
    let target = Target::parse(request.path.unwrap_or_default())?;
    fields.into_upgrade(target).map(|upgrade| Head::Upgrade(Box::new(upgrade)))
}

fn refused_by(error: httparse::Error) -> Refused {
    match error {
        httparse::Error::TooManyHeaders => Refused::HeadTooLarge,
        httparse::Error::HeaderName => Refused::Malformed("a header's name is malformed"),
        httparse::Error::HeaderValue => Refused::Malformed("a header's value is malformed"),
        _ => Refused::Malformed("the request line is malformed"),
    }
}

/// The headers that mean something here.
#[derive(Default)]
struct Fields<'h> {
    host: Option<&'h str>,
    origin: Option<&'h str>,
    key: Option<&'h str>,
    websocket_version: Option<&'h str>,
    authorization: Option<&'h str>,
    content_length: Option<&'h str>,
    x_real_ip: Option<&'h str>,
    x_forwarded_for: Option<String>,
    has_transfer_encoding: bool,
    asks_for_websocket: bool,
    connection_upgrade: bool,
    offers_loquat: bool,
    /// `bearer.<jwt>` among the subprotocols.
    protocol_token: Option<&'h str>,
}

impl<'h> Fields<'h> {
    fn read(headers: &[httparse::Header<'h>]) -> Result<Fields<'h>, Refused> {
        let mut fields = Fields::default();
        for header in headers {
            fields.add(header)?;
        }
        Ok(fields)
    }

    fn add(&mut self, header: &httparse::Header<'h>) -> Result<(), Refused> {
        let value = header.value;
        let mut name = [0; LONGEST_NAME];
        match lower_case(header.name, &mut name) {
            b"host" => once(&mut self.host, value),
            b"origin" => once(&mut self.origin, value),
            b"sec-websocket-key" => once(&mut self.key, value),
            b"sec-websocket-version" => once(&mut self.websocket_version, value),
            b"authorization" => once(&mut self.authorization, value),
            b"content-length" => once(&mut self.content_length, value),
            b"x-real-ip" => once(&mut self.x_real_ip, value),
            b"transfer-encoding" => {
                self.has_transfer_encoding = true;
                Ok(())
            }
            b"upgrade" => {
                self.asks_for_websocket |= names(text(value)?, "websocket");
                Ok(())
            }
            b"connection" => {
                self.connection_upgrade |= names(text(value)?, "upgrade");
                Ok(())
            }
            b"sec-websocket-protocol" => self.add_protocols(text(value)?),
            b"x-forwarded-for" => self.add_hops(text(value)?),
            _ => Ok(()),
        }
    }

    fn add_protocols(&mut self, offered: &'h str) -> Result<(), Refused> {
        for protocol in list(offered) {
            if protocol == "loquat" {
                self.offers_loquat = true;
            } else if let Some(token) = protocol.strip_prefix("bearer.") {
                self.protocol_token.get_or_insert(token);
            }
        }
        Ok(())
    }

    fn add_hops(&mut self, hops: &str) -> Result<(), Refused> {
        match &mut self.x_forwarded_for {
            Some(earlier) => {
                earlier.push(',');
                earlier.push_str(hops);
            }
            none => *none = Some(hops.to_owned()),
        }
        Ok(())
    }

    /// A body on a connection that becomes a socket, or that answers one request only, could only
    /// serve to smuggle a second one.
    fn refuse_body(&self) -> Result<(), Refused> {
        if self.has_transfer_encoding {
            return Err(Refused::Malformed("Transfer-Encoding is not taken here"));
        }
        match self.content_length {
            None => Ok(()),
            Some(digits) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
                Err(Refused::Malformed("Content-Length is not a number"))
            }
            Some(digits) if digits.bytes().all(|b| b == b'0') => Ok(()),
            Some(_) => Err(Refused::BodyRefused),
        }
    }

    fn into_upgrade(self, target: Target) -> Result<UpgradeRequest, Refused> {
        if self.websocket_version != Some("13") {
            return Err(Refused::WrongVersion);
        }
        let key = WebSocketKey::parse(
            self.key.ok_or(Refused::Malformed("Sec-WebSocket-Key is missing"))?,
        )?;
        let Target { path, version, token, resume } = target;
        let token = token.or(|| self.header_token()).or(|| self.subprotocol_token());
        let subprotocol = if self.offers_loquat { Subprotocol::Loquat } else { Subprotocol::None };
        Ok(UpgradeRequest {
            path,
            version,
            token,
            resume,
            subprotocol,
            key,
            host: self.host.unwrap_or_default().to_owned(),
            origin: self.origin.map(str::to_owned),
            x_forwarded_for: self.x_forwarded_for,
            x_real_ip: self.x_real_ip.map(str::to_owned),
        })
    }

    /// `Authorization: Bearer <jwt>`; another scheme is not for us.
    fn header_token(&self) -> TokenField {
        match self.authorization.and_then(|value| value.split_once(' ')) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                TokenField::new(token.trim_matches(' '))
            }
            _ => TokenField::Missing,
        }
    }

    /// The pair `loquat, bearer.<jwt>`: one without the other means nothing.
    fn subprotocol_token(&self) -> TokenField {
        match self.protocol_token {
            Some(token) if self.offers_loquat => TokenField::new(token),
            _ => TokenField::Missing,
        }
    }
}

/// Of the names above.
const LONGEST_NAME: usize = "sec-websocket-protocol".len();

/// The name in lower case; a longer one is none of ours.
fn lower_case<'n>(name: &str, room: &'n mut [u8; LONGEST_NAME]) -> &'n [u8] {
    let Some(lower) = room.get_mut(..name.len()) else { return b"" };
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    lower
}

fn once<'h>(field: &mut Option<&'h str>, value: &'h [u8]) -> Result<(), Refused> {
    if field.is_some() {
        return Err(Refused::Malformed("a header that must be single is doubled"));
    }
    *field = Some(text(value)?);
    Ok(())
}

/// ASCII; the reader refused control bytes. Other bytes are legal in HTTP, but not where we look.
fn text(value: &[u8]) -> Result<&str, Refused> {
    let bad = Refused::Malformed("a header is not text");
    if !value.is_ascii() {
        return Err(bad);
    }
    let text = std::str::from_utf8(value).map_err(|_| bad)?;
    Ok(text.trim_matches([' ', '\t']))
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|item| item.trim_matches([' ', '\t']))
}

fn names(value: &str, wanted: &str) -> bool {
    list(value).any(|item| item.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
