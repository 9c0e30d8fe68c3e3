//! Packets as the kernel takes them: one, or with UDP_SEGMENT and UDP_GRO a
//! train of packets of one size.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use crate::quic::set_option;
use crate::{Error, Result};

/// The kernel joins at most so many bytes.
pub const TRAIN: usize = 65536;

/// Room for a control message with the length of segments, aligned as the
/// kernel wants it.
type Control = [u64; 4];

/// The address of whoever has sent a packet.
pub struct Peer {
    address: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Default for Peer {
    fn default() -> Self {
        // SAFETY: all of its members are numbers
        let address: libc::sockaddr_storage = unsafe { zeroed() };
        Self { address, length: 0 }
    }
}

pub fn enable_gro(socket: &UdpSocket) -> Result<()> {
    if set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
        Ok(())
    } else {
        Err(format!("UDP_GRO: {}", io::Error::last_os_error()).into())
    }
}

/// Receives a packet or a train.  Returns its length and that of the segments,
/// of which the last one may be shorter.
pub fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    peer: &mut Peer,
) -> io::Result<(usize, usize)> {
    let mut control: Control = [0; 4];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };

    // SAFETY: everything that the message points to outlives the call, and the
    // lengths are those of the memory behind the pointers
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_name = (&raw mut peer.address).cast();
        message.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;

        let length = libc::recvmsg(socket.as_raw_fd(), &mut message, 0);

        if length < 0 {
            return Err(io::Error::last_os_error());
        }

        peer.length = message.msg_namelen;

        let length = length as usize;
        Ok((length, segment(&message).unwrap_or(length)))
    }
}

/// The length of segments that came with a message.
///
/// # Safety
/// The message is one that recvmsg() has filled in.
unsafe fn segment(message: &libc::msghdr) -> Option<usize> {
    let mut header = libc::CMSG_FIRSTHDR(message);

    while let Some(control) = header.as_ref() {
        if control.cmsg_level == libc::SOL_UDP
            && control.cmsg_type == libc::UDP_GRO
        {
            let data: *const libc::c_int = libc::CMSG_DATA(header).cast();
            return Some(data.read_unaligned() as usize);
        }
        header = libc::CMSG_NXTHDR(message, header);
    }

    None
}

/// Sends a packet, or a train if it is longer than a segment; without a peer
/// to where the socket is connected.
pub fn send(
    socket: &UdpSocket,
    bytes: &[u8],
    segment: usize,
    peer: Option<&Peer>,
) -> Result<()> {
    let mut control: Control = [0; 4];
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };

    // SAFETY: as in receive(); the kernel only reads
    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;

        if let Some(peer) = peer {
            message.msg_name = (&raw const peer.address).cast_mut().cast();
            message.msg_namelen = peer.length;
        }

        if bytes.len() > segment {
            let length = size_of::<u16>() as u32;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(length) as _;

            let header = &mut *libc::CMSG_FIRSTHDR(&message);
            header.cmsg_level = libc::SOL_UDP;
            header.cmsg_type = libc::UDP_SEGMENT;
            header.cmsg_len = libc::CMSG_LEN(length) as _;

            let data: *mut u16 = libc::CMSG_DATA(header).cast();
            data.write_unaligned(segment as u16);
        }

        libc::sendmsg(socket.as_raw_fd(), &message, 0)
    };

    if sent < 0 {
        return Err(Error::from(io::Error::last_os_error()));
    }

    Ok(())
}
