//! wtransport: one session per connection.  Its stream codes are those of
//! QUIC, so that each application has to map them; here it is done below.

use std::fmt;

use bytes::Bytes;
use interop::{run, Arguments, Client};
use web_transport_proto::{error_from_http3, error_to_http3};
use web_transport_trait as wt;
use wtransport::error::{ConnectionError, StreamReadError, StreamWriteError};
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Connection, Endpoint, VarInt};

struct Wtransport<'a>(&'a Arguments);

impl Client for Wtransport<'_> {
    type Session = Session;

    async fn connect(&self, path: &str, _: &[&str]) -> Result<Session, String> {
        let config = ClientConfig::builder()
            .with_bind_default()
            .with_server_certificate_hashes([Sha256Digest::new(self.0.hash)])
            .build();
        Endpoint::client(config)
            .map_err(|e| e.to_string())?
            .connect(format!("{}{path}", self.0.url))
            .await
            .map(|connection| Session(std::sync::Arc::new(connection)))
            .map_err(|e| e.to_string())
    }

    fn unsupported(&self, feature: &str) -> Option<&'static str> {
        match feature {
            "protocol" => Some("no API for protocols, and none for the response"),
            "close-out" => Some("close() closes the QUIC connection, without a capsule"),
            "drain-in" | "drain-out" => Some("no API for DRAIN"),
            "pooling" => Some("one session per connection"),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Error {
    Connection(ConnectionError),
    Read(StreamReadError),
    Write(StreamWriteError),
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Connection(error) => error.fmt(f),
            Error::Read(error) => error.fmt(f),
            Error::Write(error) => error.fmt(f),
            Error::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl wt::Error for Error {
    fn session_error(&self) -> Option<(u32, String)> {
        let Error::Connection(ConnectionError::ApplicationClosed(close)) = self else {
            return None;
        };
        let reason = String::from_utf8_lossy(close.reason()).into_owned();
        Some((close.code().into_inner().try_into().ok()?, reason))
    }

    fn stream_error(&self) -> Option<u32> {
        match self {
            Error::Read(StreamReadError::Reset(code))
            | Error::Write(StreamWriteError::Stopped(code)) => error_from_http3(code.into_inner()),
            _ => None,
        }
    }
}

fn other(error: impl fmt::Display) -> Error {
    Error::Other(error.to_string())
}

fn mapped(code: u32) -> VarInt {
    VarInt::try_from(error_to_http3(code)).unwrap()
}

#[derive(Clone)]
struct Session(std::sync::Arc<Connection>);

struct Send {
    stream: wtransport::SendStream,
    finished: bool,
}

struct Recv(Option<wtransport::RecvStream>);

impl wt::Session for Session {
    type SendStream = Send;
    type RecvStream = Recv;
    type Error = Error;

    async fn accept_uni(&self) -> Result<Recv, Error> {
        let stream = self.0.accept_uni().await.map_err(Error::Connection)?;
        Ok(Recv(Some(stream)))
    }

    async fn accept_bi(&self) -> Result<(Send, Recv), Error> {
        let (stream, recv) = self.0.accept_bi().await.map_err(Error::Connection)?;
        Ok((
            Send {
                stream,
                finished: false,
            },
            Recv(Some(recv)),
        ))
    }

    async fn open_bi(&self) -> Result<(Send, Recv), Error> {
        let opening = self.0.open_bi().await.map_err(Error::Connection)?;
        let (stream, recv) = opening.await.map_err(other)?;
        Ok((
            Send {
                stream,
                finished: false,
            },
            Recv(Some(recv)),
        ))
    }

    async fn open_uni(&self) -> Result<Send, Error> {
        let opening = self.0.open_uni().await.map_err(Error::Connection)?;
        let stream = opening.await.map_err(other)?;
        Ok(Send {
            stream,
            finished: false,
        })
    }

    fn send_datagram(&self, payload: Bytes) -> Result<(), Error> {
        self.0.send_datagram(payload).map_err(other)
    }

    async fn recv_datagram(&self) -> Result<Bytes, Error> {
        let datagram = self.0.receive_datagram().await.map_err(Error::Connection)?;
        Ok(datagram.payload())
    }

    fn max_datagram_size(&self) -> usize {
        self.0.max_datagram_size().unwrap_or(0)
    }

    fn close(&self, code: u32, reason: &str) {
        self.0.close(VarInt::from_u32(code), reason.as_bytes());
    }

    // the driver says why the session has ended, closed() does not
    async fn closed(&self) -> Error {
        Error::Connection(match self.0.receive_datagram().await {
            Ok(_) => self.0.closed().await,
            Err(error) => error,
        })
    }
}

impl wt::SendStream for Send {
    type Error = Error;

    async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.stream.write(data).await.map_err(Error::Write)
    }

    fn set_priority(&mut self, order: i32) {
        self.stream.set_priority(order);
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.finished = true;
        self.stream.quic_stream_mut().finish().map_err(other)
    }

    fn reset(&mut self, code: u32) {
        let _ = self.stream.reset(mapped(code));
    }

    async fn closed(&mut self) -> Result<(), Error> {
        match self.stream.stopped().await {
            StreamWriteError::Closed if self.finished => Ok(()),
            error => Err(Error::Write(error)),
        }
    }
}

impl wt::RecvStream for Recv {
    type Error = Error;

    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        match &mut self.0 {
            Some(stream) => stream.read(buffer).await.map_err(Error::Read),
            None => Err(other("stopped")),
        }
    }

    fn stop(&mut self, code: u32) {
        if let Some(stream) = self.0.take() {
            stream.stop(mapped(code));
        }
    }

    async fn closed(&mut self) -> Result<(), Error> {
        while self.read(&mut [0; 4096]).await?.is_some() {}
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    run(Wtransport(&arguments), &arguments).await;
}
