//! QUIC as a client that shall not be what limits the server: large windows
//! and buffers, GSO and GRO (which quinn uses by itself), no keep-alive.
//!
//! Only AES-128-GCM is offered, so that all servers, and the floors, pay for
//! the same cipher.  Packets begin with 1200 bytes, as RFC 9000 wants; quinn's
//! path MTU discovery may raise that to 1452.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig,
    VarInt,
};
use rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls::client::Resumption;
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::Result;

const SOCKET_BUFFER: libc::c_int = 4 << 20;
const DATAGRAM_BUFFER: usize = 8 << 20;

/// Streams that a server may open: those of HTTP/3, and its answers.  quinn
/// allocates something for each in advance, so that more are given only where
/// they are used.
const FEW_STREAMS: u32 = 16;
pub const MANY_STREAMS: u32 = 4096;

const STREAM_WINDOW: u32 = 16 << 20;
const SEND_WINDOW: u64 = 64 << 20;

/// A socket with buffers as large as the system permits.
pub fn socket(local: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;

    for (forced, limited) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if !set_option(&socket, libc::SOL_SOCKET, forced, SOCKET_BUFFER) {
            set_option(&socket, libc::SOL_SOCKET, limited, SOCKET_BUFFER);
        }
    }

    Ok(socket)
}

pub fn set_option(
    socket: &UdpSocket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> bool {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads an int that lives until the call returns
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        ) == 0
    }
}

/// Any address that can reach this one.
pub fn any_address(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    }
}

pub fn endpoint(server: SocketAddr, config: &ClientConfig) -> Result<Endpoint> {
    let mut endpoint = Endpoint::new(
        EndpointConfig::default(),
        None,
        socket(any_address(server))?,
        Arc::new(TokioRuntime),
    )?;
    endpoint.set_default_client_config(config.clone());
    Ok(endpoint)
}

pub fn client_config() -> Result<ClientConfig> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    });

    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();

    tls.alpn_protocols = vec![b"h3".to_vec()];
    // every handshake is a full one
    tls.resumption = Resumption::disabled();

    let tls = QuicClientConfig::try_from(tls)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(FEW_STREAMS.into())
        .max_concurrent_uni_streams(FEW_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(VarInt::MAX)
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .max_idle_timeout(None)
        .keep_alive_interval(None)
        .initial_mtu(1200);
    transport
}

/// Servers of a benchmark are nobody else's, so there is nothing to verify.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
