//! What the programs of the benchmark share: a small WebTransport client over
//! quinn, the pattern that all data follow, and the measuring.

pub mod cases;
pub mod floor;
pub mod h3;
pub mod meter;
pub mod options;
pub mod pace;
pub mod pattern;
pub mod qpack;
pub mod quic;
pub mod reader;
pub mod session;
pub mod udp;
pub mod varint;
pub mod window;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// The end of the program: nothing that was measured so far is worth anything.
pub fn fail(error: impl std::fmt::Display) -> ! {
    let name = std::env::args().next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or("load");
    eprintln!("{name}: {error}");
    std::process::exit(1)
}
