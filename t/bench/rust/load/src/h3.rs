//! HTTP/3 (RFC 9114) as far as a client needs it that makes requests and
//! ignores most of what the answers say.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use quinn::{
    Connection, ConnectionError, Endpoint, RecvStream, SendStream,
    TransportErrorCode, VarInt,
};
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::options::Target;
use crate::reader::Reader;
use crate::{fail, qpack, varint, Result};

pub const FRAME_DATA: u64 = 0x00;
const FRAME_HEADERS: u64 = 0x01;
const FRAME_SETTINGS: u64 = 0x04;

const STREAM_CONTROL: u64 = 0x00;
const STREAM_ENCODER: u64 = 0x02;
const STREAM_DECODER: u64 = 0x03;
pub const STREAM_WEBTRANSPORT: u64 = 0x54;

const NO_ERROR: u32 = 0x100;

const MAX_HEADERS: u64 = 65536;
const MAX_RESPONSE: usize = 1 << 20;

/// Everything that any draft asks a client for; servers ignore the rest.  No
/// flow control of sessions is offered.
const SETTINGS: [(u64, u64); 8] = [
    (0x01, 0),       // QPACK_MAX_TABLE_CAPACITY
    (0x08, 1),       // ENABLE_CONNECT_PROTOCOL
    (0x33, 1),       // H3_DATAGRAM
    (0xffd277, 1),   // H3_DATAGRAM of draft-ietf-masque-h3-datagram-04
    (0x2b603742, 1), // ENABLE_WEBTRANSPORT, drafts 02 to 06
    (0xc671706a, 1), // WEBTRANSPORT_MAX_SESSIONS, 07 to 12
    (0x14e9cd29, 1), // WT_MAX_SESSIONS, 13 and 14
    (0x2c7cf000, 1), // WT_ENABLED, from 15 on
];

/// What to do with a stream of the server: its content, without the header.
pub type UniSink = Rc<dyn Fn(&[u8]) -> Result<()>>;

/// A connection.
pub struct Client {
    pub quic: Connection,
    pub target: Target,
    shared: Rc<Shared>,

    // dropping it would end it, which is an error for the server
    _control: SendStream,
}

/// What the tasks of a connection have in common.
struct Shared {
    settings: Cell<bool>,
    arrived: Notify,
    closing: Cell<bool>,
    sink: Option<UniSink>,
}

impl Client {
    /// Connects and waits for the server's settings: before them it would be
    /// wrong to ask for a session.
    pub async fn connect(
        endpoint: &Endpoint,
        target: &Target,
        sink: Option<UniSink>,
    ) -> Result<Self> {
        let quic = connect(endpoint, target).await?;

        let shared = Rc::new(Shared {
            settings: Cell::new(false),
            arrived: Notify::new(),
            closing: Cell::new(false),
            sink,
        });

        let mut control = quic.open_uni().await?;
        control.write_chunk(settings().into()).await?;

        spawn_local(accept(quic.clone(), shared.clone()));

        while !shared.settings.get() {
            tokio::select! {
                _ = shared.arrived.notified() => {}
                error = quic.closed() => return Err(error.into()),
            }
        }

        let target = target.clone();
        Ok(Self { quic, target, shared, _control: control })
    }

    /// From now on the end of the connection is no error.
    pub fn close(&self) {
        self.shared.closing.set(true);
        self.quic.close(NO_ERROR.into(), b"");
    }

    pub fn is_closing(&self) -> bool {
        self.shared.closing.get()
    }

    pub fn expect_close(&self) {
        self.shared.closing.set(true);
    }

    pub fn get(&self) -> Vec<u8> {
        qpack::get(&self.target.authority(), &self.target.path)
    }

    pub fn post(&self, length: usize) -> Vec<u8> {
        qpack::post(&self.target.authority(), &self.target.path, length)
    }

    /// Sends the header of a request and returns its stream.
    pub async fn request(&self, block: &[u8]) -> Result<(SendStream, Reader)> {
        let (mut send, recv) = self.quic.open_bi().await?;
        send.write_chunk(frame(FRAME_HEADERS, block)).await?;
        Ok((send, Reader::new(recv)))
    }
}

/// Some servers, nginx 1.26 among them, take the lower 16 bits of a transport
/// parameter's id for the whole.  quinn adds one with a random id, RFC 9000,
/// 18.1, so that a few connections of 10,000 are refused.
async fn connect(endpoint: &Endpoint, target: &Target) -> Result<Connection> {
    let mut attempts = 3;

    loop {
        let connecting = endpoint.connect(target.address, &target.name)?;

        match connecting.await {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                attempts -= 1;
                if attempts == 0 || !is_parameter_error(&error) {
                    return Err(error.into());
                }
            }
        }
    }
}

fn is_parameter_error(error: &ConnectionError) -> bool {
    let code = TransportErrorCode::TRANSPORT_PARAMETER_ERROR;
    matches!(error, ConnectionError::ConnectionClosed(close)
        if close.error_code == code)
}

pub fn frame(kind: u64, payload: &[u8]) -> Bytes {
    let mut out = frame_header(kind, payload.len());
    out.extend(payload);
    out.into()
}

pub fn frame_header(kind: u64, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, kind);
    varint::put(&mut out, length as u64);
    out
}

fn settings() -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in SETTINGS {
        varint::put(&mut payload, id);
        varint::put(&mut payload, value);
    }

    let mut out = vec![STREAM_CONTROL as u8];
    out.extend(frame(FRAME_SETTINGS, &payload));
    out
}

/// Reads the status of a response; informational ones are skipped.
pub async fn status(stream: &mut Reader) -> Result<u16> {
    loop {
        let kind = stream.varint().await?.ok_or("a stream without answer")?;
        let length = stream.varint().await?.ok_or("half a frame")?;

        if kind != FRAME_HEADERS {
            stream.skip(length).await?;
            continue;
        }

        if length > MAX_HEADERS {
            return Err("a header that is too long".into());
        }

        let block = stream.exactly(length as usize).await?;
        match qpack::status(&block).ok_or("a response without status")? {
            100..=199 => continue,
            status => return Ok(status),
        }
    }
}

/// Reads the body of a response, piece by piece.
pub async fn body(
    stream: &mut Reader,
    mut each: impl FnMut(Bytes) -> Result<()>,
) -> Result<()> {
    while let Some(kind) = stream.varint().await? {
        let mut length = stream.varint().await?.ok_or("half a frame")?;

        if kind != FRAME_DATA {
            stream.skip(length).await?;
            continue;
        }

        while length > 0 {
            let piece = stream.take(length as usize).await?;
            let piece = piece.ok_or("half a frame")?;
            length -= piece.len() as u64;
            each(piece)?;
        }
    }
    Ok(())
}

/// Takes the streams that the server opens.
async fn accept(quic: Connection, shared: Rc<Shared>) {
    loop {
        match quic.accept_uni().await {
            Ok(stream) => {
                spawn_local(uni(quic.clone(), stream, shared.clone()));
            }
            // whoever uses the connection has something to say about it
            Err(_) => return,
        }
    }
}

async fn uni(quic: Connection, stream: RecvStream, shared: Rc<Shared>) {
    let Err(error) = read_uni(Reader::new(stream), &shared).await else {
        return;
    };

    if shared.closing.get() {
        return;
    }

    match quic.close_reason() {
        Some(ConnectionError::LocallyClosed) => {}
        Some(reason) => fail(reason),
        None => fail(format_args!("stream of the server: {error}")),
    }
}

async fn read_uni(mut stream: Reader, shared: &Shared) -> Result<()> {
    match stream.varint().await? {
        Some(STREAM_CONTROL) => {
            let kind = stream.varint().await?;
            if kind != Some(FRAME_SETTINGS) {
                return Err("no SETTINGS".into());
            }
            let length = stream.varint().await?.ok_or("half a frame")?;
            stream.skip(length).await?;
            shared.settings.set(true);
            shared.arrived.notify_one();
            stream.drain().await?;
            Err("the control stream has ended".into())
        }

        Some(STREAM_ENCODER | STREAM_DECODER) => stream.drain().await,

        Some(STREAM_WEBTRANSPORT) => {
            // the only session of a connection is its first request, id 0
            if stream.varint().await? != Some(0) {
                return Err("not of our session".into());
            }
            let content = stream.all(MAX_RESPONSE).await?;
            match &shared.sink {
                Some(sink) => sink(&content),
                None => Err("not asked for".into()),
            }
        }

        // GREASE
        _ => stream.drain().await,
    }
}

/// The error code with which a request is given up that nobody needs.
pub fn no_error() -> VarInt {
    NO_ERROR.into()
}
