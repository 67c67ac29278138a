//! What spans the cores when sockets come and go: how many there are per user, per address and in
//! handshake, and how fast they arrive. One small table behind a lock that is touched on connect and
//! on close, never on a message.
//!
//! A place is held as a [`Permit`]; dropping it gives the place back.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chat::rate::Bucket;
use crate::limits::Limits;
use crate::model::{Mono, UserId};

/// Why a socket gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Too many sockets of this user (close 4009).
    User,
    /// Too many sockets of this address (503).
    Address,
    /// Too many handshakes at once or per second (503).
    Handshakes,
}

/// Whether the caps per user, per address and on handshakes hold (`rate_limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caps {
    On,
    Off,
}

pub struct Admissions {
    caps: Caps,
    table: Mutex<Table>,
}

struct Table {
    users_max: usize,
    addresses_max: usize,
    pending_max: usize,
    pending_per_address_max: usize,
    pending: usize,
    handshakes: Bucket,
    users: HashMap<UserId, usize>,
    addresses: HashMap<Network, usize>,
    pending_addresses: HashMap<Network, usize>,
}

/// An address as it is counted: IPv6 by /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl Network {
    fn of(address: IpAddr) -> Network {
        match address {
            IpAddr::V4(_) => Network(address),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => Network(v4.into()),
                None => {
                    let mut octets = v6.octets();
                    octets[8..].fill(0);
                    Network(octets.into())
                }
            },
        }
    }
}

enum Place {
    User(UserId),
    Address(Network),
    Handshake(Option<Network>),
}

/// A place in the table, given back when dropped.
pub struct Permit {
    place: Place,
    admissions: Arc<Admissions>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.admissions.table();
        match &self.place {
            Place::User(user) => release(&mut table.users, user),
            Place::Address(network) => release(&mut table.addresses, network),
            Place::Handshake(network) => {
                table.pending -= 1;
                if let Some(network) = network {
                    release(&mut table.pending_addresses, network);
                }
            }
        }
    }
}

fn release<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// `true` when there was a place.
fn occupy<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, max: usize) -> bool {
    let count = counts.entry(key).or_insert(0);
    if *count >= max {
        return false;
    }
    *count += 1;
    true
}

impl Admissions {
    pub fn new(limits: &Limits, caps: Caps) -> Arc<Admissions> {
        let table = Table {
            users_max: limits.sockets_per_user,
            addresses_max: limits.sockets_per_address,
            pending_max: limits.handshakes_pending,
            pending_per_address_max: limits.handshakes_pending_per_address,
            pending: 0,
            handshakes: Bucket::new(limits.handshakes),
            users: HashMap::new(),
            addresses: HashMap::new(),
            pending_addresses: HashMap::new(),
        };
        Arc::new(Admissions { caps, table: Mutex::new(table) })
    }

    /// New limits hold for what comes; who is in stays.
    pub fn set_limits(&self, limits: &Limits) {
        let mut table = self.table();
        table.users_max = limits.sockets_per_user;
        table.addresses_max = limits.sockets_per_address;
        table.pending_max = limits.handshakes_pending;
        table.pending_per_address_max = limits.handshakes_pending_per_address;
        table.handshakes = Bucket::new(limits.handshakes);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole after every statement, so a panic elsewhere does not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, place: Place) -> Permit {
        Permit { place, admissions: self.clone() }
    }

    /// A socket was accepted. `counted` is its address unless that is loopback or a trusted hop.
    pub fn handshake(self: &Arc<Self>, counted: Option<IpAddr>, now: Mono) -> Result<Permit, Full> {
        let network = counted.map(Network::of);
        let mut table = self.table();
        if self.caps == Caps::On {
            if table.pending >= table.pending_max || table.handshakes.take(now).is_err() {
                return Err(Full::Handshakes);
            }
            let max = table.pending_per_address_max;
            if let Some(network) = network
                && !occupy(&mut table.pending_addresses, network, max)
            {
                return Err(Full::Handshakes);
            }
        } else if let Some(network) = network {
            occupy(&mut table.pending_addresses, network, usize::MAX);
        }
        table.pending += 1;
        drop(table);
        Ok(self.permit(Place::Handshake(network)))
    }

    /// The request was read and names this client address.
    pub fn address(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let network = Network::of(address);
        let mut table = self.table();
        let max = if self.caps == Caps::On { table.addresses_max } else { usize::MAX };
        if !occupy(&mut table.addresses, network, max) {
            return Err(Full::Address);
        }
        drop(table);
        Ok(self.permit(Place::Address(network)))
    }

    /// The token was verified.
    pub fn user(self: &Arc<Self>, user: &UserId) -> Result<Permit, Full> {
        let mut table = self.table();
        let max = if self.caps == Caps::On { table.users_max } else { usize::MAX };
        if !occupy(&mut table.users, user.clone(), max) {
            return Err(Full::User);
        }
        drop(table);
        Ok(self.permit(Place::User(user.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            sockets_per_user: 2,
            sockets_per_address: 2,
            handshakes_pending: 3,
            handshakes_pending_per_address: 2,
            ..Limits::DEFAULT
        }
    }

    #[test]
    fn the_newest_socket_of_a_user_is_refused_until_one_leaves() {
        let admissions = Admissions::new(&limits(), Caps::On);
        let user = UserId::from_number(1).unwrap();
        let first = admissions.user(&user).ok();
        let _second = admissions.user(&user).ok();
        assert_eq!(admissions.user(&user).err(), Some(Full::User));
        drop(first);
        assert!(admissions.user(&user).is_ok());
    }

    #[test]
    fn ipv6_is_counted_by_its_64() {
        let admissions = Admissions::new(&limits(), Caps::On);
        let _a = admissions.address("2001:db8::1".parse().unwrap()).ok();
        let _b = admissions.address("2001:db8::ffff:2".parse().unwrap()).ok();
        assert_eq!(admissions.address("2001:db8::3".parse().unwrap()).err(), Some(Full::Address));
        assert!(admissions.address("2001:db8:0:1::3".parse().unwrap()).is_ok());
    }

    #[test]
    fn nothing_is_left_in_the_table_when_everyone_left() {
        let admissions = Admissions::new(&limits(), Caps::On);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let permits: Vec<_> =
            (0..2).filter_map(|_| admissions.handshake(Some(address), Mono(0)).ok()).collect();
        assert_eq!(admissions.handshake(Some(address), Mono(0)).err(), Some(Full::Handshakes));
        let _third = admissions.handshake(None, Mono(0)).ok();
        assert_eq!(admissions.handshake(None, Mono(0)).err(), Some(Full::Handshakes));
        drop(permits);
        assert!(admissions.table().pending_addresses.is_empty());
        assert_eq!(admissions.table().pending, 1);
    }

    #[test]
    fn without_caps_places_are_counted_but_never_refused() {
        let admissions = Admissions::new(&limits(), Caps::Off);
        let user = UserId::from_number(1).unwrap();
        let permits: Vec<_> = (0..50).map(|_| admissions.user(&user).ok()).collect();
        assert!(permits.iter().all(Option::is_some));
        drop(permits);
        assert!(admissions.table().users.is_empty());
    }
}
