//! The cases, and what they have in common.

use quinn::Endpoint;

use crate::options::Options;
use crate::quic;
use crate::session::Session;
use crate::Result;

pub mod bidi;
pub mod bulk;
pub mod datagram;
pub mod floor;
pub mod handshake;
pub mod http;
pub mod idle;
pub mod uni;

/// More connections than this do not share a socket.
const SHARE: usize = 100;

/// As many as the sessions of a case need.
fn endpoints(options: &Options) -> Result<Vec<Endpoint>> {
    let config = quic::client_config()?;
    (0..options.sessions.div_ceil(SHARE))
        .map(|_| quic::endpoint(options.target.address, &config))
        .collect()
}

/// Opens the sessions of a case, each on a connection of its own.
async fn open_sessions(
    options: &Options,
) -> Result<(Vec<Endpoint>, Vec<Session>)> {
    let endpoints = endpoints(options)?;
    let mut sessions = Vec::new();

    for i in 0..options.sessions {
        let endpoint = &endpoints[i / SHARE];
        sessions.push(Session::open(endpoint, &options.target, None).await?);
    }

    Ok((endpoints, sessions))
}
