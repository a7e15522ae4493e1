//! The loopback of a box's network. Owns one message to the kernel.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

const MESSAGE_BYTES: u32 = 32;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_ACK: u16 = 5;
/// The loopback is the first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;
const IFF_UP: u32 = 1;
/// Where the answer's error code is: behind its header.
const ERROR_AT: usize = 16;

/// Brings the loopback of this network namespace up.
///
/// Errors: what the kernel said. Source: rtnetlink(7), `struct nlmsghdr` and `struct ifinfomsg`.
pub(super) fn bring_up() -> Result<(), Errno> {
    let link = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let mut message = Vec::with_capacity(MESSAGE_BYTES as usize);
    message.extend_from_slice(&MESSAGE_BYTES.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[0; 4]);
    for word in [LOOPBACK_INDEX, IFF_UP, IFF_UP] {
        message.extend_from_slice(&word.to_ne_bytes());
    }
    sendto(
        link.as_raw_fd(),
        &message,
        &NetlinkAddr::new(0, 0),
        MsgFlags::empty(),
    )?;
    let mut answer = [0; 1024];
    let count = recv(link.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code = answer[..count]
        .get(ERROR_AT..ERROR_AT + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(-code)),
        None => Err(Errno::EBADMSG),
    }
}
