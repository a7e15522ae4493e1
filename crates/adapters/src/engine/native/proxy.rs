//! The way out of a box whose network is a list of places. Owns the port inside the box, the decision about each
//! request, and the list of hosts that were asked for; must never connect to a place that is not on the list.
//!
//! The port is opened by pid 1 inside the box's network and handed to the engine, which answers it from outside:
//! the box has no route, so there is nothing else to answer it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gantry_core::limits::{BOX_PROXY_CONNECTIONS_MAX, RECEIPT_HOSTS_MAX};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::engine::HostPort;

/// Where the proxy is in every box that has one.
pub(super) const PORT: u16 = 3128;
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// How long a client may take to say what it wants.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection may be silent.
const SILENT_MAX: Duration = Duration::from_secs(600);
const CHUNK_BYTES: usize = 32 * 1024;

/// Opens the port in this network.
///
/// Errors: what the system said.
pub(super) fn open_port() -> io::Result<OwnedFd> {
    Ok(TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)))?.into())
}

/// A proxy that runs; dropping it ends it.
#[derive(Debug)]
pub(super) struct Proxy {
    shared: Arc<Shared>,
    wake: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    allowed: Vec<HostPort>,
    asked: Mutex<BTreeSet<String>>,
    ended: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    /// Answers a port that a box handed out.
    ///
    /// Errors: what the system said.
    pub(super) fn start(port: OwnedFd, allowed: Vec<HostPort>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            allowed,
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let (sleeper, wake) = io::pipe()?;
        let listener = TcpListener::from(port);
        let served = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("box-proxy".to_owned())
            .spawn(move || serve(&listener, &sleeper, &served))?;
        Ok(Self {
            shared,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Returns the places that were asked for, those refused with that word before them.
    pub(super) fn asked(&self) -> Vec<String> {
        self.shared.asked().iter().cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told of it already.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn asked(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        // A set that is only added to is whole whatever panicked.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, place: &HostPort, allowed: bool) {
        let word = if allowed { "" } else { "refused " };
        let mut asked = self.asked();
        if asked.len() < RECEIPT_HOSTS_MAX {
            asked.insert(format!("{word}{}:{}", place.host, place.port));
        }
    }

    /// Connects to a place, if it may be reached.
    fn reach(&self, place: &HostPort) -> Result<TcpStream, Refusal> {
        let allowed = self.allowed.iter().any(|allowed| covers(allowed, place));
        self.note(place, allowed);
        if !allowed {
            return Err(Refusal::NotAllowed);
        }
        let literal = place.host.parse::<IpAddr>().is_ok();
        let addresses = (place.host.as_str(), place.port).to_socket_addrs();
        let addresses = addresses.map_err(|source| Refusal::NotReached(source.to_string()))?;
        let mut last = "it has no address that a box may reach".to_owned();
        for address in addresses {
            // A name somebody else answers for must not lead to this host or its neighbours in disguise.
            if !literal && is_near(address.ip()) && place.host != "localhost" {
                continue;
            }
            match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                Ok(stream) => return Ok(stream),
                Err(source) => last = source.to_string(),
            }
        }
        Err(Refusal::NotReached(last))
    }
}

enum Refusal {
    NotAllowed,
    NotReached(String),
}

/// Says whether an entry of the list covers a place.
fn covers(allowed: &HostPort, place: &HostPort) -> bool {
    let host = place.host.trim_end_matches('.');
    let matches = match allowed.host.strip_prefix("*.") {
        Some(domain) => {
            let behind = host.len().checked_sub(domain.len() + 1);
            behind.is_some_and(|at| {
                host.is_char_boundary(at)
                    && host.as_bytes()[at] == b'.'
                    && at > 0
                    && host[at + 1..].eq_ignore_ascii_case(domain)
            })
        }
        None => host.eq_ignore_ascii_case(&allowed.host),
    };
    matches && allowed.port == place.port
}

/// Says whether an address is this host's own or its link's.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_near(IpAddr::V4(v4)),
            None => {
                v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()
            }
        },
    }
}

fn serve(listener: &TcpListener, sleeper: &io::PipeReader, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::SeqCst) {
        let mut waits = vec![PollFd::new(sleeper.as_fd(), PollFlags::POLLIN)];
        let is_full = shared.connections.load(Ordering::SeqCst) >= BOX_PROXY_CONNECTIONS_MAX;
        if !is_full {
            waits.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        }
        // While it is full, an ended connection is noticed at the next look.
        let limit = if is_full {
            PollTimeout::from(50_u8)
        } else {
            PollTimeout::NONE
        };
        if poll(&mut waits, limit).is_err() || waits[0].any().unwrap_or(true) {
            continue;
        }
        if is_full || !waits[1].any().unwrap_or(false) {
            continue;
        }
        let Ok((client, _)) = listener.accept() else {
            continue;
        };
        let shared = Arc::clone(shared);
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let counted = Arc::clone(&shared);
        let started = thread::Builder::new()
            .name("box-proxy-client".to_owned())
            .spawn(move || {
                // A client or server that went away has ended its connection.
                let _ = answer(&client, &shared);
                shared.connections.fetch_sub(1, Ordering::SeqCst);
            });
        if started.is_err() {
            counted.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn answer(mut client: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_read_timeout(Some(HEAD_WITHIN))?;
    client.set_write_timeout(Some(SILENT_MAX))?;
    let (head, rest) = read_head(client)?;
    let Some(request) = Wish::parse(&head) else {
        return refuse(
            client,
            "400 Bad Request",
            "this is no request a proxy understands",
        );
    };
    let mut server = match shared.reach(&request.place) {
        Ok(server) => server,
        Err(Refusal::NotAllowed) => {
            let why = format!(
                "{}:{} is not on this box's list",
                request.place.host, request.place.port
            );
            return refuse(client, "403 Forbidden", &why);
        }
        Err(Refusal::NotReached(why)) => return refuse(client, "502 Bad Gateway", &why),
    };
    if request.head.is_empty() {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        server.write_all(&request.head)?;
    }
    server.write_all(&rest)?;
    relay(client, &server, shared)
}

fn refuse(mut client: &TcpStream, status: &str, why: &str) -> io::Result<()> {
    let length = why.len() + 1;
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n"
    )
}

/// Reads to the end of the head; returns it and what came behind it.
fn read_head(mut client: &TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = client.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((bytes, rest));
        }
        if count == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// What a client wants.
struct Wish {
    place: HostPort,
    /// The head to send on; empty for a tunnel.
    head: Vec<u8>,
}

impl Wish {
    /// Reads a request's head. Source: RFC 9110, 7.1 and 9.3.6; RFC 9112, 3.2.
    fn parse(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let (line, fields) = head.split_once("\r\n")?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if method == "CONNECT" {
            let place = parse_place(target, None)?;
            return Some(Self {
                place,
                head: Vec::new(),
            });
        }
        let behind = target.strip_prefix("http://")?;
        let at = behind.find(['/', '?']).unwrap_or(behind.len());
        let (authority, path) = behind.split_at(at);
        let place = parse_place(authority, Some(80))?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut sent = format!("{method} {slash}{path} {version}\r\n");
        for field in fields.split("\r\n").filter(|field| !field.is_empty()) {
            let name = field.split(':').next().unwrap_or_default().trim();
            // One request for one decision: the next one on this connection might be for another host.
            let dropped = [
                "connection",
                "proxy-connection",
                "proxy-authorization",
                "keep-alive",
                "upgrade",
            ];
            if !dropped.iter().any(|word| name.eq_ignore_ascii_case(word)) {
                sent.push_str(field);
                sent.push_str("\r\n");
            }
        }
        sent.push_str("Connection: close\r\n\r\n");
        Some(Self {
            place,
            head: sent.into_bytes(),
        })
    }
}

fn parse_place(text: &str, port: Option<u16>) -> Option<HostPort> {
    if text.contains('@') {
        return None;
    }
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (host, rest) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match rest {
        Some(text) => text.parse().ok()?,
        None => port?,
    };
    (!host.is_empty()).then(|| HostPort {
        host: host.to_ascii_lowercase(),
        port,
    })
}

/// Carries bytes both ways until one side has ended and the other has said its last.
fn relay(client: &TcpStream, server: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    for stream in [client, server] {
        stream.set_read_timeout(Some(SILENT_MAX))?;
        stream.set_write_timeout(Some(SILENT_MAX))?;
    }
    thread::scope(|scope| {
        let up = thread::Builder::new().spawn_scoped(scope, || copy(client, server, shared))?;
        let down = copy(server, client, shared);
        // A thread that panicked has told of it already.
        drop(up.join());
        down
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let carried = loop {
        match from.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(count) if !shared.ended.load(Ordering::SeqCst) => {
                if let Err(source) = to.write_all(&chunk[..count]) {
                    break Err(source);
                }
            }
            Ok(_) => break Ok(()),
            Err(source) => break Err(source),
        }
    };
    // An end that is closed already needs no closing.
    let _ = to.shutdown(Shutdown::Write);
    if carried.is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> HostPort {
        let (host, port) = text.rsplit_once(':').expect("a port");
        HostPort {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
        }
    }

    #[test]
    fn a_list_covers_names_and_what_is_below_them_at_their_port_only() {
        for (allowed, asked, expected) in [
            ("example.org:443", "example.org:443", true),
            ("example.org:443", "EXAMPLE.org.:443", true),
            ("example.org:443", "example.org:80", false),
            ("example.org:443", "a.example.org:443", false),
            ("*.example.org:443", "a.b.example.org:443", true),
            ("*.example.org:443", "example.org:443", false),
            ("*.example.org:443", "evilexample.org:443", false),
            ("*.example.org:443", ".example.org:443", false),
        ] {
            assert_eq!(
                covers(&place(allowed), &place(asked)),
                expected,
                "{allowed} {asked}"
            );
        }
    }

    #[test]
    fn requests_are_read_and_sent_on_without_what_was_for_the_proxy() {
        let tunnel = Wish::parse(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n").expect("a tunnel");
        assert_eq!((tunnel.place.host.as_str(), tunnel.place.port), ("::1", 443));
        assert!(tunnel.head.is_empty());
        let head = b"GET http://Example.org/a?b HTTP/1.1\r\nHost: example.org\r\nProxy-Connection: keep-alive\r\n\r\n";
        let plain = Wish::parse(head).expect("a request");
        assert_eq!((plain.place.host.as_str(), plain.place.port), ("example.org", 80));
        let sent = String::from_utf8(plain.head).expect("text");
        assert_eq!(
            sent,
            "GET /a?b HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
        );
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "CONNECT a HTTP/1.1\r\n\r\n",
            "GET http://u@h/ HTTP/1.1\r\n\r\n",
        ] {
            assert!(Wish::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_this_host_and_its_link_are_near() {
        for near in [
            "127.0.0.1",
            "169.254.169.254",
            "::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
        ] {
            assert!(is_near(near.parse().expect("an address")), "{near}");
        }
        assert!(!is_near("192.0.2.1".parse().expect("an address")));
    }
}
