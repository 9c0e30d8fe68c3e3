//! A WebTransport session: the first request of a connection of its own.

use std::rc::Rc;
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, SendStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::h3::{self, Client, UniSink, FRAME_DATA, STREAM_WEBTRANSPORT};
use crate::options::Target;
use crate::pace::pass;
use crate::reader::Reader;
use crate::{fail, qpack, varint, Result};

const FRAME_WEBTRANSPORT: u64 = 0x41;
const CAPSULE_CLOSE: u64 = 0x2843;

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Session {
    pub client: Rc<Client>,
    connect: SendStream,
}

impl Session {
    pub async fn open(
        endpoint: &Endpoint,
        target: &Target,
        sink: Option<UniSink>,
    ) -> Result<Self> {
        match timeout(PATIENCE, Self::open_now(endpoint, target, sink)).await {
            Ok(result) => result,
            Err(_) => Err("no session after 10 seconds".into()),
        }
    }

    async fn open_now(
        endpoint: &Endpoint,
        target: &Target,
        sink: Option<UniSink>,
    ) -> Result<Self> {
        let client = Rc::new(Client::connect(endpoint, target, sink).await?);
        let authority = target.authority();

        let (connect, mut answer) = client
            .request(&qpack::connect(
                &authority,
                &target.path,
                &format!("https://{authority}"),
                &target.protocol,
            ))
            .await?;

        let status = h3::status(&mut answer).await?;

        if status != 200 {
            let path = &target.path;
            return Err(format!("{path}: {status} instead of 200").into());
        }

        spawn_local(watch(client.clone(), answer));

        Ok(Self { client, connect })
    }

    /// What a bidirectional stream of the session begins with.
    pub fn bidi_header(&self) -> Vec<u8> {
        self.header(FRAME_WEBTRANSPORT)
    }

    pub fn uni_header(&self) -> Vec<u8> {
        self.header(STREAM_WEBTRANSPORT)
    }

    fn header(&self, kind: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, kind);
        varint::put(&mut out, self.connect.id().into());
        out
    }

    pub fn datagram_header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, u64::from(self.connect.id()) / 4);
        out
    }

    /// Ends the session, and right behind that the connection.
    pub async fn close(mut self) -> Result<()> {
        let mut capsule = Vec::new();
        varint::put(&mut capsule, CAPSULE_CLOSE);
        varint::put(&mut capsule, 4);
        capsule.extend(0u32.to_be_bytes());

        self.client.expect_close();
        self.connect.write_chunk(h3::frame(FRAME_DATA, &capsule)).await?;
        self.connect.finish()?;

        // now quinn sends that, which it would not do after the close
        pass().await;

        self.client.close();
        Ok(())
    }
}

/// The server may say what it likes on the CONNECT stream, but not end it.
async fn watch(client: Rc<Client>, mut answer: Reader) {
    let end = answer.drain().await;

    if client.is_closing() {
        return;
    }

    match (client.quic.close_reason(), end) {
        (Some(ConnectionError::LocallyClosed), _) => {}
        (Some(reason), _) => fail(reason),
        (None, Ok(())) => fail("the server has closed the session"),
        (None, Err(error)) => fail(format_args!("session: {error}")),
    }
}
