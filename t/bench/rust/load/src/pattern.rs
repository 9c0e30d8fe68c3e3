//! What all data look like: byte i of a stream or datagram is i % 251, so that
//! a byte that is lost, doubled or misplaced is noticed.  In short messages the
//! first 8 bytes are a number instead.

use bytes::{BufMut, Bytes, BytesMut};
use quinn::SendStream;

use crate::Result;

const PRIME: usize = 251;
const LENGTH: usize = 256 * PRIME;

/// Where a number stands in a message.
pub const NUMBER: usize = 8;

/// Messages are cut from pieces of memory this large.
const POOL: usize = 256 * 1024;

static PATTERN: [u8; LENGTH] = {
    let mut bytes = [0; LENGTH];
    let mut i = 0;
    while i < LENGTH {
        bytes[i] = (i % PRIME) as u8;
        i += 1;
    }
    bytes
};

/// The beginning of a stream, and how one goes on whose length so far is a
/// multiple of this one's.
pub fn block() -> Bytes {
    Bytes::from_static(&PATTERN)
}

/// Sends so many bytes on a stream that has had none of them before; `each` is
/// called after every piece.
pub async fn send(
    stream: &mut SendStream,
    bytes: usize,
    each: impl Fn(),
) -> Result<()> {
    let mut left = bytes;

    while left > 0 {
        let mut block = block();
        block.truncate(left);
        left -= block.len();
        stream.write_chunk(block).await?;
        each();
    }

    Ok(())
}

/// Is this what a stream has at an offset?
pub fn matches(mut offset: usize, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = &PATTERN[offset % PRIME..];
        let length = bytes.len().min(expected.len());
        if bytes[..length] != expected[..length] {
            return false;
        }
        bytes = &bytes[length..];
        offset += length;
    }
    true
}

/// Checks what came in at an offset of a stream.
pub fn check(offset: usize, bytes: &[u8]) -> Result<()> {
    if matches(offset, bytes) {
        return Ok(());
    }
    let end = offset + bytes.len();
    Err(format!("wrong bytes between {offset} and {end}").into())
}

/// Numbered messages of one size, behind the header of their session.
pub struct Messages {
    header: Vec<u8>,
    size: usize,
    pool: BytesMut,
}

impl Messages {
    pub fn new(header: Vec<u8>, size: usize) -> Result<Self> {
        if !(NUMBER..=LENGTH).contains(&size) {
            return Err(format!("size is not {NUMBER} to {LENGTH}").into());
        }
        let pool = BytesMut::new();
        Ok(Self { header, size, pool })
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// A message with its header, without an allocation of its own.
    pub fn make(&mut self, number: u64) -> Bytes {
        let length = self.header.len() + self.size;

        if self.pool.capacity() < length {
            self.pool = BytesMut::with_capacity(POOL.max(length));
        }

        self.pool.put_slice(&self.header);
        self.pool.put_u64(number);
        self.pool.put_slice(&PATTERN[NUMBER..self.size]);
        self.pool.split().freeze()
    }

    /// The number of a message, without its header, that came back.
    pub fn number(&self, message: &[u8]) -> Result<u64> {
        if message.len() != self.size {
            let length = message.len();
            return Err(format!("{length} bytes, not {}", self.size).into());
        }
        let (number, rest) = message.split_at(NUMBER);
        check(NUMBER, rest)?;
        Ok(u64::from_be_bytes(number.try_into()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_recognised() {
        let mut messages = Messages::new(vec![1, 2], 1000).unwrap();
        let message = messages.make(77);
        assert_eq!(message[..2], [1, 2]);
        assert_eq!(messages.number(&message[2..]).unwrap(), 77);

        let mut wrong = message[2..].to_vec();
        wrong[999] ^= 1;
        assert!(messages.number(&wrong).is_err());
        assert!(messages.number(&message[2..1001]).is_err());
    }

    #[test]
    fn long_streams_repeat_the_pattern() {
        let long: Vec<u8> =
            (0..3 * LENGTH).map(|i| (i % PRIME) as u8).collect();
        assert!(matches(0, &long));
        assert!(matches(5, &long[5..]));
        assert!(!matches(5, &long[6..]));
    }
}
