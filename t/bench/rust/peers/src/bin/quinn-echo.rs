//! The echo server on web-transport-quinn.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use load::Result;
use peers::{
    run, Options, Service, Sink, Source, IDLE_TIMEOUT, PING_INTERVAL, STREAMS,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use web_transport_quinn::http::StatusCode;
use web_transport_quinn::{
    RecvStream, Request, SendStream, Server, Session, ALPN,
};

fn main() {
    run(serve);
}

async fn serve(options: Options) -> Result<()> {
    let config = config(&options.certificate, &options.key)?;

    let mut server = Server::new(Endpoint::new(
        EndpointConfig::default(),
        Some(config),
        options.socket()?,
        Arc::new(TokioRuntime),
    )?);

    println!("ready");

    while let Some(request) = server.accept().await {
        // what goes wrong with a client is reported by the client
        tokio::spawn(session(request));
    }

    Ok(())
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)?;
    let chain = chain.collect::<std::result::Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.into()];

    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(STREAMS.into())
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into()?))
        .keep_alive_interval(Some(PING_INTERVAL));

    let tls = QuicServerConfig::try_from(tls)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn session(request: Request) -> Result<()> {
    let Some(service) = Service::find(request.url.path()) else {
        return Ok(request.reject(StatusCode::NOT_FOUND).await?);
    };

    let session = request.ok().await?;

    tokio::try_join!(
        bidi(&session, service),
        uni(&session, service),
        datagrams(&session),
    )?;
    Ok(())
}

async fn bidi(session: &Session, service: Service) -> Result<()> {
    loop {
        let (send, recv) = session.accept_bi().await?;
        tokio::spawn(service.stream(In(recv), Out(send)));
    }
}

async fn uni(session: &Session, service: Service) -> Result<()> {
    loop {
        let recv = session.accept_uni().await?;
        let session = session.clone();
        tokio::spawn(async move {
            let send = session.open_uni().await?;
            service.stream(In(recv), Out(send)).await
        });
    }
}

async fn datagrams(session: &Session) -> Result<()> {
    loop {
        let datagram = session.read_datagram().await?;
        session.send_datagram(datagram)?;
    }
}

struct In(RecvStream);

impl Source for In {
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.0.read_chunk(usize::MAX, true).await?;
        Ok(chunk.map(|chunk| chunk.bytes))
    }
}

struct Out(SendStream);

impl Sink for Out {
    async fn put(&mut self, piece: Bytes) -> Result<()> {
        Ok(self.0.write_chunk(piece).await?)
    }

    async fn end(&mut self) -> Result<()> {
        Ok(self.0.finish()?)
    }
}
