//! What the echo servers do, whichever library they use.
//!
//! Each gets the settings that suit the load: large socket buffers, enough
//! streams, and a ping now and then for sessions on which nothing happens.
//! Everything else is as the library has it.

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use load::{pattern, quic, Result};
use tokio::runtime;

/// Streams that a client may have open.
pub const STREAMS: u32 = 512;

pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
pub const PING_INTERVAL: Duration = Duration::from_secs(25);

/// The command line.
pub struct Options {
    pub listen: SocketAddr,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut found = [None, None, None];
        let names = ["--listen", "--cert", "--key"];
        let mut args = std::env::args().skip(1);

        while let Some(arg) = args.next() {
            let i = names.iter().position(|name| *name == arg);
            let i = i.ok_or(format!("unknown option {arg}"))?;
            found[i] = Some(args.next().ok_or(format!("{arg} what?"))?);
        }

        let [Some(listen), Some(certificate), Some(key)] = found else {
            return Err("needs --listen, --cert and --key".into());
        };

        Ok(Self {
            listen: listen.parse()?,
            certificate: certificate.into(),
            key: key.into(),
        })
    }

    pub fn socket(&self) -> Result<UdpSocket> {
        quic::socket(self.listen)
    }
}

/// Runs a server on one thread.
pub fn run<F: Future<Output = Result<()>>>(server: impl FnOnce(Options) -> F) {
    let result = Options::parse().and_then(|options| {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server(options))
    });

    if let Err(error) = result {
        load::fail(error);
    }
}

/// What becomes of the streams of a session, by its path.
#[derive(Clone, Copy, PartialEq)]
pub enum Service {
    Echo,
    Discard,
    Generate,
}

impl Service {
    pub fn find(path: &str) -> Option<Self> {
        match path {
            "/echo" => Some(Self::Echo),
            "/discard" => Some(Self::Discard),
            "/generate" => Some(Self::Generate),
            _ => None,
        }
    }

    /// Serves one stream to its end.
    pub async fn stream(
        self,
        recv: impl Source,
        send: impl Sink,
    ) -> Result<()> {
        match self {
            Self::Echo => echo(recv, send).await,
            Self::Discard => discard(recv, send).await,
            Self::Generate => generate(recv, send).await,
        }
    }
}

/// The streams of a library, at their fastest.
pub trait Source: Send {
    /// The next piece; None: the stream has ended.
    fn piece(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;
}

pub trait Sink: Send {
    fn put(&mut self, piece: Bytes) -> impl Future<Output = Result<()>> + Send;
    fn end(&mut self) -> impl Future<Output = Result<()>> + Send;
}

async fn echo(mut recv: impl Source, mut send: impl Sink) -> Result<()> {
    while let Some(piece) = recv.piece().await? {
        send.put(piece).await?;
    }
    send.end().await
}

async fn discard(mut recv: impl Source, mut send: impl Sink) -> Result<()> {
    while recv.piece().await?.is_some() {}
    send.end().await
}

async fn generate(mut recv: impl Source, mut send: impl Sink) -> Result<()> {
    let mut request = Vec::new();
    while let Some(piece) = recv.piece().await? {
        request.extend(piece);
    }

    let mut left: usize = std::str::from_utf8(&request)?.parse()?;

    while left > 0 {
        let mut block = pattern::block();
        block.truncate(left);
        left -= block.len();
        send.put(block).await?;
    }

    send.end().await
}
