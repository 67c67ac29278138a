//! The settings, resolved and typed. Which names they have outside is the table's business.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use super::keys::{JwtKey, ListedKey};
use super::secret::Secret;
use super::words::{Algorithm, AuthReject, Fsync, Switch};
use crate::limits::{Limits, SHARDS_MAX};
use crate::model::Access;

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub shards: usize,
    pub access: Access,
    pub jwt: Jwt,
    pub auth: Auth,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub admin: Admin,
    pub log: Log,
    pub fsync: Fsync,
    pub disk_reserve_bytes: u64,
    pub journal_segment_bytes: u64,
    pub journal_keep_days: u32,
    /// 0: for ever.
    pub retention_days: u32,
    pub sled_cache_bytes: u64,
    pub drain_timeout_ms: u64,
    /// 0: what the control group and the machine allow.
    pub memory_limit_bytes: u64,
    pub wide_threshold: usize,
    pub max_session_s: u64,
    pub offline_grace_ms: u64,
    pub history_on_connect: u32,
    pub rate_limits: Switch,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Jwt {
    /// As written; what verifies tokens is `keys`.
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
    pub listed: Vec<ListedKey>,
    /// Every key with its secret: the single one first, then the listed ones.
    pub keys: Vec<JwtKey>,
    pub algorithm: Algorithm,
    pub user_claim: String,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    pub leeway_s: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    pub reject: AuthReject,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// `None`: switched off.
    pub listen: Option<SocketAddr>,
    pub token_file: Option<PathBuf>,
    /// What `token_file` holds.
    pub token: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub level: LevelFilter,
}

/// What SIGHUP may change under a running server.
#[derive(Debug, Clone, PartialEq)]
pub struct Reloadable {
    pub jwt_keys: Vec<JwtKey>,
    pub allowed_origins: Vec<String>,
    pub limits: Limits,
    pub log_level: LevelFilter,
}

impl Settings {
    /// Where the admin side listens and the token it asks for. Without a token there is none.
    pub fn admin_side(&self) -> Option<(SocketAddr, &Secret)> {
        self.admin.listen.zip(self.admin.token.as_ref())
    }

    pub fn reloadable(&self) -> Reloadable {
        Reloadable {
            jwt_keys: self.jwt.keys.clone(),
            allowed_origins: self.allowed_origins.clone(),
            limits: self.limits.clone(),
            log_level: self.log.level,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: loopback(8000),
            data: PathBuf::from("./loquat-data"),
            shards: cores(),
            access: Access::Members,
            jwt: Jwt::default(),
            auth: Auth { reject: AuthReject::Close },
            allowed_origins: Vec::new(),
            trusted_proxies: loopback_networks(),
            admin: Admin { listen: Some(loopback(8001)), token_file: None, token: None },
            log: Log { level: LevelFilter::INFO },
            fsync: Fsync::Commit,
            disk_reserve_bytes: 256 << 20,
            journal_segment_bytes: 32 << 20,
            journal_keep_days: 7,
            retention_days: 0,
            sled_cache_bytes: 32 << 20,
            drain_timeout_ms: 5_000,
            memory_limit_bytes: 0,
            wide_threshold: 1_024,
            max_session_s: 24 * 3600,
            offline_grace_ms: 5_000,
            history_on_connect: 0,
            rate_limits: Switch::On,
            limits: Limits::DEFAULT,
        }
    }
}

impl Default for Jwt {
    fn default() -> Jwt {
        Jwt {
            secret: None,
            secret_file: None,
            listed: Vec::new(),
            keys: Vec::new(),
            algorithm: Algorithm::Hs256,
            user_claim: "user_id".to_owned(),
            audience: None,
            issuer: None,
            leeway_s: 0,
        }
    }
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn loopback_networks() -> Vec<IpNet> {
    let v4 = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let v6 = ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);
    vec![IpNet::V4(v4), IpNet::V6(v6)]
}

/// Cores this process may use; cgroup limits and affinity count.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(SHARDS_MAX))
}
