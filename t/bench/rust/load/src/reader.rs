//! A receiving stream as integers and pieces.

use bytes::{Buf, Bytes, BytesMut};
use quinn::RecvStream;

use crate::{varint, Result};

pub struct Reader {
    stream: RecvStream,
    rest: Bytes,
}

impl Reader {
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, rest: Bytes::new() }
    }

    /// Waits until there is something to take; false: the stream has ended.
    async fn fill(&mut self) -> Result<bool> {
        while self.rest.is_empty() {
            match self.stream.read_chunk(usize::MAX, true).await? {
                Some(chunk) => self.rest = chunk.bytes,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next bytes, at most so many; None: the stream has ended.
    pub async fn take(&mut self, max: usize) -> Result<Option<Bytes>> {
        if !self.fill().await? {
            return Ok(None);
        }
        let length = max.min(self.rest.len());
        Ok(Some(self.rest.split_to(length)))
    }

    /// The next integer; None: the stream has ended before it.
    pub async fn varint(&mut self) -> Result<Option<u64>> {
        if !self.fill().await? {
            return Ok(None);
        }

        let length = varint::length(self.rest[0]);

        if let Some(bytes) = self.rest.get(..length) {
            let value = varint::value(bytes);
            self.rest.advance(length);
            return Ok(Some(value));
        }

        let bytes = self.exactly(length).await?;
        Ok(Some(varint::value(&bytes)))
    }

    /// So many bytes.
    pub async fn exactly(&mut self, length: usize) -> Result<BytesMut> {
        let mut all = BytesMut::new();
        while all.len() < length {
            match self.take(length - all.len()).await? {
                Some(bytes) => all.extend_from_slice(&bytes),
                None => return Err("a stream ends too early".into()),
            }
        }
        Ok(all)
    }

    /// Everything to the end; usually one piece, which is not copied.
    pub async fn all(&mut self, limit: usize) -> Result<Bytes> {
        let Some(first) = self.take(usize::MAX).await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.take(usize::MAX).await? else {
            return Ok(first);
        };

        let mut all = BytesMut::from(&first[..]);
        all.extend_from_slice(&second);

        while let Some(more) = self.take(usize::MAX).await? {
            if all.len() + more.len() > limit {
                return Err(format!("more than {limit} bytes").into());
            }
            all.extend_from_slice(&more);
        }

        Ok(all.freeze())
    }

    /// Skips so many bytes.
    pub async fn skip(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let max = usize::try_from(length).unwrap_or(usize::MAX);
            match self.take(max).await? {
                Some(bytes) => length -= bytes.len() as u64,
                None => return Err("a stream ends too early".into()),
            }
        }
        Ok(())
    }

    /// Waits for the end and throws away what comes until then.
    pub async fn drain(&mut self) -> Result<()> {
        while self.take(usize::MAX).await?.is_some() {}
        Ok(())
    }
}
