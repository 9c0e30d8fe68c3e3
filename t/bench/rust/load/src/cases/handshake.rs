//! Sessions, one after the other, each with a full handshake of its own.

use std::rc::Rc;
use std::time::Instant;

use quinn::Endpoint;

use crate::meter::Meter;
use crate::options::{Options, Target};
use crate::session::Session;
use crate::{quic, Result};

const INFLIGHT: usize = 8;

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let config = quic::client_config()?;
    let mut endpoints = Vec::new();

    meter.watch();

    for _ in 0..options.inflight.unwrap_or(INFLIGHT) {
        let endpoint = quic::endpoint(options.target.address, &config)?;
        endpoints.push(endpoint.clone());
        let target = options.target.clone();
        meter.spawn(repeat(endpoint, target, meter.clone()));
    }

    meter.run().await;
    crate::meter::close(&endpoints).await;
    Ok(())
}

async fn repeat(
    endpoint: Endpoint,
    target: Target,
    meter: Rc<Meter>,
) -> Result<()> {
    loop {
        let begin = Instant::now();
        let session = Session::open(&endpoint, &target, None).await?;
        meter.done(0, begin);
        session.close().await?;
    }
}
