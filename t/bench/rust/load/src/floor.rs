//! What an echo costs at least when packets are encrypted as QUIC does it:
//! AES-128-GCM, and nothing else that a protocol needs.
//!
//! A packet is a number, which is the nonce and the additional data, what is
//! encrypted, and the tag.

use std::net::UdpSocket;

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, NONCE_LEN};

use crate::udp::{self, Peer, TRAIN};
use crate::Result;

const HEADER: usize = 8;
const TAG: usize = 16;

/// What a packet is longer than its content.
pub const OVERHEAD: usize = HEADER + TAG;

/// Encrypts and decrypts, with a key that is no secret.
pub struct Sealer {
    key: LessSafeKey,
    next: u64,
}

impl Sealer {
    /// Both sides have one key, so their numbers must not be the same.
    pub fn new(first: u64) -> Result<Self> {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16])
            .map_err(|_| "no AES-128-GCM")?;
        Ok(Self { key: LessSafeKey::new(key), next: first })
    }

    /// Appends a packet with this content.
    pub fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let header = self.next.to_be_bytes();
        self.next += 1;

        out.extend(header);
        let start = out.len();
        out.extend(content);

        let tag = self
            .key
            .seal_in_place_separate_tag(
                nonce(header),
                Aad::from(header),
                &mut out[start..],
            )
            .map_err(|_| "not encrypted")?;

        out.extend(tag.as_ref());
        Ok(())
    }

    /// The content of a packet.
    pub fn open<'a>(&self, packet: &'a mut [u8]) -> Result<&'a [u8]> {
        let (header, rest) = packet
            .split_first_chunk_mut::<HEADER>()
            .ok_or("a packet that is too short")?;

        self.key
            .open_in_place(nonce(*header), Aad::from(*header), rest)
            .map(|content| &*content)
            .map_err(|_| "a packet that does not decrypt".into())
    }
}

fn nonce(header: [u8; HEADER]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - HEADER..].copy_from_slice(&header);
    Nonce::assume_unique_for_key(nonce)
}

/// The server: waits in recvmsg(), and answers each packet or train with one
/// sendmsg().
pub fn serve(socket: &UdpSocket) -> Result<()> {
    let mut sealer = Sealer::new(1 << 63)?;
    let mut buffer = vec![0; TRAIN];
    let mut answer = Vec::with_capacity(2 * TRAIN);
    let mut peer = Peer::default();

    loop {
        let (length, segment) = udp::receive(socket, &mut buffer, &mut peer)?;

        answer.clear();

        for packet in buffer[..length].chunks_mut(segment.max(1)) {
            // what is none of our client's gets no answer
            if let Ok(content) = sealer.open(packet) {
                sealer.seal(content, &mut answer)?;
            }
        }

        if !answer.is_empty() {
            udp::send(socket, &answer, segment, Some(&peer))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_can_be_opened_but_not_changed() {
        let mut sealer = Sealer::new(5).unwrap();
        let mut packet = Vec::new();
        sealer.seal(b"content", &mut packet).unwrap();
        assert_eq!(packet.len(), 7 + OVERHEAD);

        let mut other = packet.clone();
        other[0] ^= 1;
        assert_eq!(sealer.open(&mut packet).unwrap(), b"content");
        assert!(sealer.open(&mut other).is_err());
    }
}
