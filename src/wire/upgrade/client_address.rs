//! Whose connection this is when proxies stand in between.
//!
//! Only what a trusted hop wrote counts: each proxy appends the address it saw, so the list is read
//! from its right end, and the first address that is no trusted proxy's is the client's. What stands
//! left of it the client may have made up.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The client's address. `peer` is the other end of the connection.
pub fn client_address(
    peer: IpAddr,
    x_forwarded_for: Option<&str>,
    x_real_ip: Option<&str>,
    trusted: &[IpNet],
) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    for hop in x_forwarded_for.unwrap_or_default().rsplit(',') {
        match parse_hop(hop) {
            Some(address) if is_trusted(&address) => {}
            Some(address) => return address,
            // Nobody vouches for what stands left of an unreadable hop.
            None => break,
        }
    }
    x_real_ip.and_then(parse_hop).unwrap_or(peer)
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: Option<&str>, real: Option<&str>, expected: &str) {
        let trusted: Vec<IpNet> =
            ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].iter().map(|n| n.parse().unwrap()).collect();
        let found = client_address(peer.parse().unwrap(), forwarded, real, &trusted);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?} {real:?}");
    }

    #[test]
    fn a_stranger_speaks_for_itself_only() {
        check("203.0.113.9", None, None, "203.0.113.9");
        check("203.0.113.9", Some("1.2.3.4"), Some("1.2.3.4"), "203.0.113.9");
        check("::ffff:203.0.113.9", Some("1.2.3.4"), None, "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        check("127.0.0.1", Some("1.2.3.4"), None, "1.2.3.4");
        check("::ffff:127.0.0.1", Some("1.2.3.4"), None, "1.2.3.4");
        check("127.0.0.1", Some("6.6.6.6, 1.2.3.4, 10.0.0.7"), None, "1.2.3.4");
        check("127.0.0.1", Some("6.6.6.6,1.2.3.4"), Some("9.9.9.9"), "1.2.3.4");
        check("127.0.0.1", Some("2001:db8::1"), None, "2001:db8::1");
        check("127.0.0.1", Some("[2001:db8::1]:4711"), None, "2001:db8::1");
        check("127.0.0.1", Some("[2001:db8::1]"), None, "2001:db8::1");
        check("127.0.0.1", Some("1.2.3.4:4711"), None, "1.2.3.4");
        check("127.0.0.1", Some("::ffff:1.2.3.4"), None, "1.2.3.4");
    }

    #[test]
    fn without_a_usable_list_the_other_header_or_the_proxy_itself_counts() {
        check("127.0.0.1", None, Some("1.2.3.4"), "1.2.3.4");
        check("127.0.0.1", None, None, "127.0.0.1");
        check("127.0.0.1", Some(""), None, "127.0.0.1");
        check("127.0.0.1", Some("10.0.0.1, 10.0.0.2"), None, "127.0.0.1");
        check("127.0.0.1", Some("10.0.0.1"), Some("10.0.0.1"), "10.0.0.1");
        check("127.0.0.1", Some("1.2.3.4, unknown"), Some("5.6.7.8"), "5.6.7.8");
        check("127.0.0.1", Some("1.2.3.4, unknown"), Some("junk"), "127.0.0.1");
        check("127.0.0.1", Some("1.2.3.4, _hidden, 10.0.0.1"), None, "127.0.0.1");
    }
}
