//! Settings that are lists: origins and networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::field::{Field, Raw, Refused, Shape, items_of};

impl Field for Vec<IpNet> {
    fn read(raw: &Raw, _: &Shape) -> Result<Vec<IpNet>, Refused> {
        let net = |item: &&str| {
            let single = || item.parse::<IpAddr>().ok().map(IpNet::from);
            item.parse::<IpNet>().ok().or_else(single).map(|net| net.trunc())
        };
        items_of(raw)?
            .iter()
            .enumerate()
            .map(|(n, item)| {
                net(item).ok_or_else(|| format!("item {} is not a network", n + 1).into())
            })
            .collect()
    }

    fn show(&self) -> Option<String> {
        let nets: Vec<String> = self.iter().map(IpNet::to_string).collect();
        Some(nets.join(","))
    }
}

impl Field for Vec<String> {
    fn read(raw: &Raw, _: &Shape) -> Result<Vec<String>, Refused> {
        items_of(raw)?
            .iter()
            .enumerate()
            .map(|(n, item)| {
                origin(item).ok_or_else(|| format!("item {} is not an origin", n + 1).into())
            })
            .collect()
    }

    fn show(&self) -> Option<String> {
        Some(self.join(","))
    }
}

/// An origin as a browser sends it: scheme and host in lower case, no path, no default port.
fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    let host_ok = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    (scheme_ok && host_ok).then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(origin(text).as_deref(), expected, "{text}");
        };
        check("https://Chat.Example.org", Some("https://chat.example.org"));
        check("https://chat.example.org:443", Some("https://chat.example.org"));
        check("http://localhost:3000", Some("http://localhost:3000"));
        check("http://[::1]:3000", Some("http://[::1]:3000"));
        check("capacitor://localhost", Some("capacitor://localhost"));
        check("*", Some("*"));
        check("null", None);
        check("chat.example.org", None);
        check("https://chat.example.org/", None);
        check("https://", None);
        check("https://:443", None);
        check("://x", None);
    }

    #[test]
    fn a_single_address_is_a_network_of_one() {
        let raw = Raw::Text("10.1.2.3/8, 192.0.2.7,2001:db8::/32".to_owned());
        let nets = Vec::<IpNet>::read(&raw, &Shape::Networks).unwrap();
        assert_eq!(nets.show().unwrap(), "10.0.0.0/8,192.0.2.7/32,2001:db8::/32");
        let raw = Raw::List(vec!["10.0.0.0/8".to_owned(), "proxy".to_owned()]);
        assert_eq!(
            Vec::<IpNet>::read(&raw, &Shape::Networks).unwrap_err(),
            "item 2 is not a network"
        );
    }
}
