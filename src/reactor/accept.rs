//! Accepts sockets on one core. Readiness comes through the ring; each readiness is then worked off
//! with plain `accept4` calls, so a burst costs one trip through the ring.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::socket::{self, Socket};
use super::turn::Reactor;
use crate::wire::upgrade::{self, Refused};

/// Accepted in a row before other tasks run.
const BURST: usize = 64;
/// What is read of a request that is refused unseen: a usual one, with its token.
const REFUSED_BYTES_READ: usize = 8 * 1024;
/// How long accepting pauses when the process or the machine is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

pub async fn run(reactor: Rc<Reactor>, listener: Rc<Socket>) {
    let mut is_short = false;
    loop {
        let readable = socket::readable(&listener);
        tokio::select! {
            result = readable => {
                if let Err(error) = result {
                    tracing::warn!(%error, "cannot wait for sockets");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            () = reactor.stop_accepting.notified() => return,
        }
        match accept_burst(&reactor, &listener) {
            Ok(()) => is_short = false,
            // Accepting at once again would spin, and saying so each time would fill the log.
            Err(error) => {
                if !std::mem::replace(&mut is_short, true) {
                    tracing::warn!(%error, "cannot accept sockets; trying again until it works");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// An error when the process or the machine is out of something.
fn accept_burst(reactor: &Rc<Reactor>, listener: &Socket) -> Result<(), Errno> {
    for _ in 0..BURST {
        match rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC) {
            Ok((fd, address)) => {
                let peer = address
                    .and_then(|address| std::net::SocketAddr::try_from(address).ok())
                    .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
                admit(reactor, fd, peer.to_canonical());
            }
            Err(Errno::AGAIN) => return Ok(()),
            // The peer was gone before it was accepted.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn admit(reactor: &Rc<Reactor>, fd: OwnedFd, peer: IpAddr) {
    let reserve = reactor.shared.reloadable.load().limits.descriptor_reserve as u64;
    let is_reserved =
        fd.as_raw_fd() as u64 >= reactor.shared.descriptors_max.saturating_sub(reserve);
    let accepted = match is_reserved {
        true => {
            reactor.core().turn_away();
            Err(())
        }
        false => reactor.core().accept(peer, reactor.clock.now()).map_err(|_| ()),
    };
    match accepted {
        Ok(slot) => reactor.add(slot, fd),
        Err(()) => refuse(fd),
    }
}

/// 503 as far as it goes: the socket is closed at once. What has come of the request is read first,
/// since closing with unread bytes resets the connection and may destroy the answer.
fn refuse(fd: OwnedFd) {
    let mut answer = Vec::new();
    upgrade::refuse_response(&mut answer, Refused::Overloaded { retry_after_s: 5 });
    let mut stream = std::net::TcpStream::from(fd);
    let _ = stream.set_nonblocking(true);
    let _ = stream.read(&mut [0; REFUSED_BYTES_READ]);
    let _ = stream.write(&answer);
}
