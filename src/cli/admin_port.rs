//! The way of commands to a running server: its admin port, with the admin token of the same settings.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use clap::ArgMatches;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{fail, flags, refuse, warn};
use crate::config::table::Entry;
use crate::config::{Mistake, Origin, Secret, resolve};
use crate::limits::{ADMIN_ANSWER_BYTES_MAX, ADMIN_ANSWER_MS, TRANSFER_STALL_MS};

const ANSWER: Duration = Duration::from_millis(ADMIN_ANSWER_MS);
const STALL: Duration = Duration::from_millis(TRANSFER_STALL_MS);

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "nobody answers on {address}: {source}. Is the server running, and is its admin.listen this address?"
    )]
    Unreachable { address: SocketAddr, source: io::Error },
    #[error("{0} did not answer in time")]
    Silent(SocketAddr),
    #[error(
        "the server on {0} does not take this admin token: name the file that the server was started with, \
         in admin.token_file"
    )]
    Token(SocketAddr),
    #[error(
        "the server on {0} knows no such request: it is of another version, or this is not its admin port"
    )]
    Unknown(SocketAddr),
    #[error("the server answered {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Where a server's admin port is, and what opens it.
pub struct AdminPort {
    address: SocketAddr,
    token: Secret,
    runtime: Runtime,
}

/// The settings that say so.
pub fn is_about_admin(entry: &Entry) -> bool {
    entry.key.starts_with("admin.")
}

impl AdminPort {
    /// As the command line and the settings say; what is wrong with them is told.
    pub fn of(matches: &ArgMatches) -> Result<AdminPort, ExitCode> {
        let resolved = resolve(&flags::sources(matches));
        warn(&resolved.warnings);
        // A secret for tokens that is missing is none of our business here.
        let is_ours = |mistake: &Mistake| mistake.key.starts_with("admin.");
        let mistakes: Vec<_> = resolved.mistakes.into_iter().filter(is_ours).collect();
        if !mistakes.is_empty() {
            return Err(refuse(&mistakes));
        }
        let Some((address, token)) = resolved.settings.admin_side() else {
            let problem = "the running server is asked over its admin port, which has no token here: give \
                           --admin-token-file FILE, or --config FILE with what the server was started with";
            return Err(refuse(&[Mistake::new("admin.token_file", Origin::Default, problem)]));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail(&error))?;
        Ok(AdminPort { address: reachable(address), token: token.clone(), runtime })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A whole answer of bounded length.
    pub fn text(&self, path: &str) -> Result<String, AdminError> {
        let mut text = String::new();
        let body = self.open(path)?.take(ADMIN_ANSWER_BYTES_MAX);
        { body }
            .read_to_string(&mut text)
            .map_err(|error| AdminError::Broken(error.to_string()))?;
        Ok(text)
    }

    /// An answer that is read as it comes.
    pub fn open(&self, path: &str) -> Result<Answer<'_>, AdminError> {
        let incoming = self.runtime.block_on(self.ask(path))?;
        Ok(Answer { port: self, body: incoming, held: Bytes::new() })
    }

    async fn ask(&self, path: &str) -> Result<Incoming, AdminError> {
        let address = self.address;
        let mut sender = self.connect().await?;
        let request = self.request(Method::GET, path, Body::empty())?;
        let answer = timeout(2 * STALL, sender.send_request(request)).await;
        let answer = answer.map_err(|_| AdminError::Silent(address))?.map_err(broken)?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            StatusCode::UNAUTHORIZED => Err(AdminError::Token(address)),
            StatusCode::NOT_FOUND => Err(AdminError::Unknown(address)),
            status => {
                let text = self.text_of(answer.into_body()).await?.chars().take(300).collect();
                Err(AdminError::Refused { status, text })
            }
        }
    }

    /// For one request, with a body of this kind.
    pub async fn connect<B>(&self) -> Result<SendRequest<B>, AdminError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let address = self.address;
        let stream = timeout(ANSWER, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| AdminError::Silent(address))?;
        let stream = stream.map_err(|source| AdminError::Unreachable { address, source })?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(broken)?;
        // An error of the connection shows in what is read from it.
        drop(tokio::spawn(async { drop(connection.await) }));
        Ok(sender)
    }

    pub fn request<B>(
        &self,
        method: Method,
        path: &str,
        body: B,
    ) -> Result<Request<B>, AdminError> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .body(body)
            .map_err(|error| AdminError::Broken(error.to_string()))
    }

    /// All of a short answer.
    pub async fn text_of(&self, body: Incoming) -> Result<String, AdminError> {
        let body = Limited::new(body, ADMIN_ANSWER_BYTES_MAX as usize);
        let all = timeout(ANSWER, body.collect()).await;
        let all = all.map_err(|_| AdminError::Silent(self.address))?;
        let all = all.map_err(|error| AdminError::Broken(error.to_string()))?;
        Ok(String::from_utf8_lossy(&all.to_bytes()).into_owned())
    }

    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

pub fn broken(error: hyper::Error) -> AdminError {
    AdminError::Broken(error.to_string())
}

/// A server that listens everywhere is asked on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The bytes of an answer.
pub struct Answer<'p> {
    port: &'p AdminPort,
    body: Incoming,
    held: Bytes,
}

impl Read for Answer<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            let frame =
                self.port.runtime.block_on(async { timeout(STALL, self.body.frame()).await });
            match frame {
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(None) => return Ok(0),
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(Some(Ok(frame))) => self.held = frame.into_data().unwrap_or_default(),
            }
        }
        let taken = self.held.split_to(into.len().min(self.held.len()));
        into[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}
