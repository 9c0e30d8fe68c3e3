//! The echo server on wtransport.

use std::sync::Arc;

use bytes::Bytes;
use load::Result;
use peers::{
    run, Options, Service, Sink, Source, IDLE_TIMEOUT, PING_INTERVAL, STREAMS,
};
use wtransport::config::QuicTransportConfig;
use wtransport::endpoint::IncomingSession;
use wtransport::{
    Connection, Endpoint, Identity, RecvStream, SendStream, ServerConfig,
};

fn main() {
    run(serve);
}

async fn serve(options: Options) -> Result<()> {
    let identity =
        Identity::load_pemfiles(&options.certificate, &options.key).await?;

    let mut transport = QuicTransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(STREAMS.into())
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into()?))
        .keep_alive_interval(Some(PING_INTERVAL));

    let endpoint = Endpoint::server(
        ServerConfig::builder()
            .with_bind_socket(options.socket()?)
            .with_custom_transport(identity, transport)
            .build(),
    )?;

    println!("ready");

    loop {
        // what goes wrong with a client is reported by the client
        tokio::spawn(session(endpoint.accept().await));
    }
}

async fn session(incoming: IncomingSession) -> Result<()> {
    let request = incoming.await?;

    let Some(service) = Service::find(request.path()) else {
        request.not_found().await;
        return Ok(());
    };

    let connection = Arc::new(request.accept().await?);

    tokio::try_join!(
        bidi(&connection, service),
        uni(&connection, service),
        datagrams(&connection),
    )?;
    Ok(())
}

async fn bidi(connection: &Connection, service: Service) -> Result<()> {
    loop {
        let (send, recv) = connection.accept_bi().await?;
        tokio::spawn(service.stream(In(recv), Out(send)));
    }
}

async fn uni(connection: &Arc<Connection>, service: Service) -> Result<()> {
    loop {
        let recv = connection.accept_uni().await?;
        let connection = connection.clone();
        tokio::spawn(async move {
            let send = connection.open_uni().await?.await?;
            service.stream(In(recv), Out(send)).await
        });
    }
}

async fn datagrams(connection: &Connection) -> Result<()> {
    loop {
        let datagram = connection.receive_datagram().await?;
        connection.send_datagram(datagram.payload())?;
    }
}

/// Without quinn's streams below, what comes in would have to be copied.
struct In(RecvStream);

impl Source for In {
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let stream = self.0.quic_stream_mut();
        let chunk = stream.read_chunk(usize::MAX, true).await?;
        Ok(chunk.map(|chunk| chunk.bytes))
    }
}

struct Out(SendStream);

impl Sink for Out {
    async fn put(&mut self, piece: Bytes) -> Result<()> {
        Ok(self.0.quic_stream_mut().write_chunk(piece).await?)
    }

    async fn end(&mut self) -> Result<()> {
        Ok(self.0.quic_stream_mut().finish()?)
    }
}
