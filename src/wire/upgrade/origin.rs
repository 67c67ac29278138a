//! Which web pages may open sockets. Only browsers send an Origin, and they send it truthfully; so
//! this protects a browser's user from other pages and nobody else.

use std::net::{IpAddr, Ipv6Addr};

/// Where the server's public port listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// Only on loopback addresses: somebody's own machine.
    Loopback,
    Public,
}

/// Whether a request with this Origin is let in: there is none; it is the page of this very host; it
/// is listed (`*` lists all but `null`); or both it and the server are on the loopback.
pub fn origin_allowed(
    origin: Option<&str>,
    host: &str,
    allowed: &[String],
    listening: Listening,
) -> bool {
    let Some(origin) = origin else { return true };
    // Sandboxed frames and local files: anybody can make such a page.
    if origin.eq_ignore_ascii_case("null") {
        return false;
    }
    let listed = |entry: &String| {
        entry == "*" || Site::parse(entry.trim_end_matches('/')).matches(&Site::parse(origin))
    };
    if allowed.iter().any(listed) {
        return true;
    }
    let site = Site::parse(origin);
    if site.default_port().is_none() {
        return false;
    }
    let same_host = site.matches(&Site::of_host(host, site.scheme));
    same_host || (listening == Listening::Loopback && site.is_loopback())
}

/// Scheme, host and port, compared as browsers do.
#[derive(Debug, Clone, Copy)]
struct Site<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Port<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port<'a> {
    Default,
    Number(u16),
    /// Not a port: equal to itself only as text.
    Odd(&'a str),
}

impl<'a> Site<'a> {
    fn parse(origin: &'a str) -> Site<'a> {
        let (scheme, authority) = origin.split_once("://").unwrap_or(("", origin));
        Site::of_host(authority, scheme)
    }

    fn of_host(authority: &'a str, scheme: &'a str) -> Site<'a> {
        // The colons inside of [::1] are no port's.
        let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match authority[host_end..].find(':') {
            Some(colon) => authority.split_at(host_end + colon),
            None => (authority, ""),
        };
        let port = match port.strip_prefix(':') {
            None => Port::Default,
            Some(digits) => digits.parse().map_or(Port::Odd(digits), Port::Number),
        };
        Site { scheme, host, port }
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
            scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        }
    }

    fn matches(&self, other: &Site<'_>) -> bool {
        let port = |site: &Site<'_>| match (site.port, site.default_port()) {
            (Port::Number(number), Some(default)) if number == default => None,
            (Port::Number(number), _) => Some(number),
            _ => None,
        };
        let odd = |site: &Site<'_>| matches!(site.port, Port::Odd(_));
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && !self.host.is_empty()
            && self.host.eq_ignore_ascii_case(other.host)
            && port(self) == port(other)
            && !odd(self)
            && !odd(other)
    }

    fn is_loopback(&self) -> bool {
        if self.host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(host) => host.parse() == Ok(Ipv6Addr::LOCALHOST),
            None => matches!(self.host.parse(), Ok(IpAddr::V4(host)) if host.is_loopback()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: &str, host: &str, allowed: &[&str], listening: Listening, expected: bool) {
        let allowed: Vec<String> = allowed.iter().map(|&entry| entry.to_owned()).collect();
        let found = origin_allowed(Some(origin), host, &allowed, listening);
        assert_eq!(found, expected, "{origin} on {host} with {allowed:?}");
    }

    #[test]
    fn not_a_browser() {
        assert!(origin_allowed(None, "chat.example.com", &[], Listening::Public));
    }

    #[test]
    fn the_page_of_this_host() {
        let check = |origin: &str, host: &str, expected: bool| {
            check(origin, host, &[], Listening::Public, expected);
        };
        check("https://chat.example.com", "chat.example.com", true);
        check("https://Chat.Example.com", "chat.example.COM", true);
        check("http://chat.example.com:8000", "chat.example.com:8000", true);
        check("https://chat.example.com", "chat.example.com:443", true);
        check("http://[2001:db8::1]:8000", "[2001:db8::1]:8000", true);
        check("http://chat.example.com:8000", "chat.example.com", false);
        check("http://chat.example.com", "chat.example.com:8000", false);
        check("http://chat.example.com", "chat.example.com:443", false);
        check("https://evil.example.com", "chat.example.com", false);
        check("https://chat.example.com.evil.com", "chat.example.com", false);
        check("https://chat.example.com@evil.com", "chat.example.com", false);
        check("chrome-extension://chat.example.com", "chat.example.com", false);
        check("https://a:x", "a:x", false);
        check("https://a:x", "a", false);
        check("https://a", "a:x", false);
        check("https://", "", false);
        check("", "", false);
        check("null", "null", false);
    }

    #[test]
    fn the_list() {
        let check = |origin: &str, allowed: &[&str], expected: bool| {
            check(origin, "chat.example.com", allowed, Listening::Public, expected);
        };
        check("https://app.example.com", &["https://app.example.com"], true);
        check("https://app.example.com", &["https://b.example", "https://APP.example.com/"], true);
        check("https://app.example.com", &["https://app.example.com:443"], true);
        check("http://app.example.com", &["https://app.example.com"], false);
        check("https://app.example.com:8443", &["https://app.example.com"], false);
        check("https://app.example.com.evil.com", &["https://app.example.com"], false);
        check("chrome-extension://abcdef", &["chrome-extension://abcdef"], true);
        check("https://anything.example", &["*"], true);
        check("null", &["*"], false);
        check("null", &["null"], false);
        check("https://a.example.com", &["https://*.example.com"], false);
    }

    #[test]
    fn the_loopback() {
        let check = |origin: &str, listening: Listening, expected: bool| {
            check(origin, "localhost:8000", &[], listening, expected);
        };
        for origin in [
            "http://localhost:3000",
            "https://LOCALHOST",
            "http://127.0.0.1:5173",
            "http://127.9.9.9",
            "http://[::1]:3000",
        ] {
            check(origin, Listening::Loopback, true);
            check(origin, Listening::Public, false);
        }
        for origin in [
            "http://localhost.evil.com",
            "http://128.0.0.1",
            "http://127.0.0.1.evil.com",
            "http://[::2]",
            "http://::1",
            "file://localhost",
            "null",
        ] {
            check(origin, Listening::Loopback, false);
        }
    }
}
