//! The cases, and what they have in common.

use quinn::Endpoint;

use crate::options::Options;
use crate::quic;
use crate::session::Session;
use crate::Result;

pub mod bidi;
pub mod bulk;
pub mod datagram;

/// More connections than this do not share a socket.
pub const SHARE: usize = 100;

/// Opens the sessions of a case, each on a connection of its own.
async fn open_sessions(
    options: &Options,
) -> Result<(Vec<Endpoint>, Vec<Session>)> {
    let config = quic::client_config()?;
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut sessions = Vec::new();

    for i in 0..options.sessions {
        if i % SHARE == 0 {
            endpoints.push(quic::endpoint(options.target.address, &config)?);
        }
        let endpoint = &endpoints[endpoints.len() - 1];
        sessions.push(Session::open(endpoint, &options.target, None).await?);
    }

    Ok((endpoints, sessions))
}
