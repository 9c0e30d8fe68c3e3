//! Plain HTTP/3 requests on one connection.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::endpoints;
use crate::h3::{self, Client, FRAME_DATA};
use crate::meter::Meter;
use crate::options::Options;
use crate::reader::Reader;
use crate::{pattern, Result};

const INFLIGHT: usize = 8;

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let endpoints = endpoints(options)?;
    let client = Client::connect(&endpoints[0], &options.target, None).await?;

    let requests = Rc::new(Requests {
        block: match options.upload {
            Some(length) => client.post(length),
            None => client.get(),
        },
        client,
        upload: options.upload.unwrap_or(0),
        body: OnceCell::new(),
        meter: meter.clone(),
    });

    meter.watch();
    requests.first().await?;

    for _ in 0..options.inflight.unwrap_or(INFLIGHT) {
        meter.spawn(requests.clone().repeat());
    }

    meter.run().await;
    crate::meter::close(&endpoints).await;
    Ok(())
}

struct Requests {
    client: Client,
    block: Vec<u8>,
    upload: usize,

    /// What the first answer was; every other one has to be the same.
    body: OnceCell<Bytes>,

    meter: Rc<Meter>,
}

impl Requests {
    async fn first(&self) -> Result<()> {
        let mut whole = BytesMut::new();
        let mut answer = self.request().await?;

        h3::body(&mut answer, |piece| {
            whole.extend_from_slice(&piece);
            self.meter.alive();
            Ok(())
        })
        .await?;

        let _ = self.body.set(whole.freeze());
        Ok(())
    }

    async fn repeat(self: Rc<Self>) -> Result<()> {
        let expected = self.body.get().ok_or("no first answer")?;

        loop {
            let begin = Instant::now();
            let mut answer = self.request().await?;
            let mut offset = 0;

            h3::body(&mut answer, |piece| {
                let end = offset + piece.len();
                if expected.get(offset..end) != Some(&piece[..]) {
                    return Err("an answer unlike the first".into());
                }
                offset = end;
                self.meter.alive();
                Ok(())
            })
            .await?;

            if offset != expected.len() {
                return Err("an answer shorter than the first".into());
            }

            self.meter.done(self.upload + offset, begin);
        }
    }

    /// Sends a request and reads the header of the answer.
    async fn request(&self) -> Result<Reader> {
        let (mut send, mut answer) = self.client.request(&self.block).await?;

        if self.upload > 0 {
            let header = h3::frame_header(FRAME_DATA, self.upload);
            send.write_chunk(header.into()).await?;
            pattern::send(&mut send, self.upload, || self.meter.alive())
                .await?;
        }

        send.finish()?;

        match h3::status(&mut answer).await? {
            200..=299 => Ok(answer),
            status => Err(format!("status {status}").into()),
        }
    }
}
