//! Much data on few streams.

use std::rc::Rc;
use std::time::Instant;

use quinn::SendStream;

use super::open_sessions;
use crate::meter::Meter;
use crate::options::{Direction, Options};
use crate::reader::Reader;
use crate::session::Session;
use crate::{pattern, Result};

/// The warm-up transfers this part of the whole, again and again.
const WARMUP_PART: usize = 20;

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let (endpoints, mut sessions) = open_sessions(options).await?;
    let bulk = Rc::new(Bulk {
        session: sessions.pop().ok_or("no session")?,
        direction: options.direction,
        meter: meter.clone(),
    });

    meter.watch();

    let begin = Instant::now();
    let part = options.bytes / WARMUP_PART;

    while meter.continues(begin) {
        bulk.transfer(options.streams, part).await?;
    }

    meter.start();
    bulk.transfer(options.streams, options.bytes).await?;
    meter.stop();
    meter.count(options.bytes, options.bytes);

    crate::meter::close(&endpoints).await;
    Ok(())
}

struct Bulk {
    session: Session,
    direction: Direction,
    meter: Rc<Meter>,
}

impl Bulk {
    /// So many bytes in all; the first streams take what does not divide.
    async fn transfer(
        self: &Rc<Self>,
        streams: usize,
        all: usize,
    ) -> Result<()> {
        let mut parts = Vec::new();

        for i in 0..streams {
            let bytes = all / streams + usize::from(i < all % streams);
            parts.push(self.meter.spawn(self.clone().stream(bytes)));
        }

        for part in parts {
            part.await?;
        }

        Ok(())
    }

    async fn stream(self: Rc<Self>, bytes: usize) -> Result<()> {
        let (mut send, recv) = self.session.client.quic.open_bi().await?;
        let mut recv = Reader::new(recv);
        send.write_chunk(self.session.bidi_header().into()).await?;

        match self.direction {
            Direction::Up => {
                self.send(&mut send, bytes).await?;
                self.receive(&mut recv, 0).await
            }
            Direction::Down => {
                send.write_chunk(bytes.to_string().into()).await?;
                send.finish()?;
                self.receive(&mut recv, bytes).await
            }
            Direction::Both => {
                tokio::try_join!(
                    self.send(&mut send, bytes),
                    self.receive(&mut recv, bytes),
                )?;
                Ok(())
            }
        }
    }

    async fn send(&self, stream: &mut SendStream, bytes: usize) -> Result<()> {
        pattern::send(stream, bytes, || self.meter.alive()).await?;
        Ok(stream.finish()?)
    }

    /// Reads and checks so many bytes and the end.
    async fn receive(&self, stream: &mut Reader, bytes: usize) -> Result<()> {
        let mut offset = 0;

        while let Some(piece) = stream.take(usize::MAX).await? {
            pattern::check(offset, &piece)?;
            offset += piece.len();
            self.meter.alive();
        }

        if offset != bytes {
            return Err(format!("{offset} bytes instead of {bytes}").into());
        }

        Ok(())
    }
}
