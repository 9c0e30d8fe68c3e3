//! The scenario of t/lib/interop.py, for all libraries that have the traits of
//! web-transport-trait, or get them in their program.
//!
//!     client <url> <SHA-256 of the certificate> [features...]
//!
//! prints a JSON object: a result for each feature.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use web_transport_trait::{Error, RecvStream, SendStream, Session};

const CODES: [u32; 5] = [0, 42, 255, 256, 0xffff_ffff];
const PROTOCOLS: [&str; 2] = ["interop-1", "interop-2"];
const BULK: usize = 1 << 20;
const STREAMS: usize = 100;

/// What the other side sees last.
const SEEN_THERE: [&str; 5] = [
    "bidi-in",
    "uni-out",
    "datagram-out",
    "reset-out",
    "stop-out",
];

pub type Outcome = Result<(), String>;

/// A library.
pub trait Client {
    type Session: Session;

    fn connect(
        &self,
        path: &str,
        protocols: &[&str],
    ) -> impl Future<Output = Result<Self::Session, String>>;

    /// Why the library cannot do it, if it cannot.
    fn unsupported(&self, feature: &str) -> Option<&'static str>;
}

/// What is in the command line.
pub struct Arguments {
    pub url: String,
    pub hash: [u8; 32],
    features: Vec<String>,
}

impl Arguments {
    pub fn parse() -> Self {
        let mut given = std::env::args().skip(1);
        let url = given.next().expect("url");
        let hex = given.next().expect("hash");
        let mut hash = [0; 32];

        for (i, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        }

        Self {
            url,
            hash,
            features: given.collect(),
        }
    }
}

/// Runs the features that the command line names, and prints their results.
pub async fn run<C: Client>(client: C, arguments: &Arguments) {
    let limit: f64 = std::env::var("WT_SLOWNESS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1.0);
    let limit = Duration::from_secs_f64(10.0 * limit);
    let mut results = BTreeMap::new();

    for feature in &arguments.features {
        let result = match client.unsupported(feature) {
            Some(why) => format!("unsupported: {why}"),
            None => match timeout(limit, perform(&client, feature)).await {
                Ok(Ok(())) => "ok".to_string(),
                Ok(Err(why)) => format!("failed: {why}"),
                Err(_) => "failed: timeout".to_string(),
            },
        };
        results.insert(feature.as_str(), result);
    }

    // Debug's quotes are those of JSON for all that can be in here but "\u{...}"
    let fields: Vec<_> = results
        .iter()
        .map(|(name, result)| format!("{name:?}: {:?}", plain(result)))
        .collect();
    println!("{{{}}}", fields.join(", "));
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
        .collect()
}

async fn perform<C: Client>(client: &C, feature: &str) -> Outcome {
    let path = format!("/{feature}");

    if feature == "reject" {
        return match client.connect(&path, &[]).await {
            Ok(_) => Err("a session".into()),
            Err(_) => Ok(()),
        };
    }

    let offered: &[&str] = match feature {
        "protocol" => &PROTOCOLS,
        _ => &[],
    };
    let session = client.connect(&path, offered).await?;

    match feature {
        "session" => Ok(()),
        "protocol" => expect(session.protocol(), Some("interop-2")),
        "bidi-out" => bidi_out(&session, b"ping", b"pong").await,
        "bidi-in" => bidi_in(&session).await,
        "uni-out" => uni_out(&session).await,
        "uni-in" => uni_in(&session).await,
        "datagram-out" => session
            .send_datagram(Bytes::from_static(b"ping"))
            .map_err(text),
        "datagram-in" => expect(
            session.recv_datagram().await.map_err(text)?.as_ref(),
            b"ping",
        ),
        "reset-out" => reset_out(&session).await,
        "reset-in" => reset_in(&session).await,
        "stop-out" => stop_out(&session).await,
        "stop-in" => stop_in(&session).await,
        "bulk" => bulk(&session).await,
        "streams" => {
            for _ in 0..STREAMS {
                bidi_out(&session, b"ping", b"ping").await?;
            }
            Ok(())
        }
        "close-in" => {
            return expect(
                session.closed().await.session_error(),
                Some((0xffff_fffe, "ende \u{fc}".to_string())),
            );
        }
        "close-out" => {
            session.close(0xffff_ffff, "bye \u{e4}");
            session.closed().await;
            return Ok(());
        }
        _ => return Err("not written".into()),
    }?;

    // whoever sees the last of it closes the session
    if !SEEN_THERE.contains(&feature) {
        session.close(0, "");
    }
    session.closed().await;
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{found:?} instead of {wanted:?}"))
}

// ---- streams and their ends ------------------------------------------------

async fn bidi_out(session: &impl Session, data: &[u8], answer: &[u8]) -> Outcome {
    let (mut send, mut recv) = session.open_bi().await.map_err(text)?;
    send.write_all(data).await.map_err(text)?;
    send.finish().map_err(text)?;
    expect(recv.read_all().await.map_err(text)?.as_ref(), answer)
}

async fn bidi_in(session: &impl Session) -> Outcome {
    let (mut send, mut recv) = session.accept_bi().await.map_err(text)?;
    expect(recv.read_all().await.map_err(text)?.as_ref(), b"ping")?;
    send.write_all(b"pong").await.map_err(text)?;
    send.finish().map_err(text)?;
    let _ = send.closed().await;
    Ok(())
}

async fn uni_out(session: &impl Session) -> Outcome {
    let mut send = session.open_uni().await.map_err(text)?;
    send.write_all(b"ping").await.map_err(text)?;
    send.finish().map_err(text)?;
    let _ = send.closed().await;
    Ok(())
}

async fn uni_in(session: &impl Session) -> Outcome {
    let mut recv = session.accept_uni().await.map_err(text)?;
    expect(recv.read_all().await.map_err(text)?.as_ref(), b"ping")
}

async fn bulk(session: &impl Session) -> Outcome {
    let (mut send, mut recv) = session.open_bi().await.map_err(text)?;
    let data: Vec<u8> = (0..BULK).map(|i| (i * 7 + (i >> 8)) as u8).collect();

    let writing = async {
        send.write_all(&data).await.map_err(text)?;
        send.finish().map_err(text)
    };
    let reading = async { recv.read_all().await.map_err(text) };

    let (_, received) = tokio::try_join!(writing, reading)?;
    if received != data {
        return Err(format!("{} other bytes", received.len()));
    }
    Ok(())
}

// ---- codes -----------------------------------------------------------------

/// A stream on which a byte has come back: both sides know of it.
async fn opened<S: Session>(
    session: &S,
    first: &[u8],
) -> Result<(S::SendStream, S::RecvStream), String> {
    let (mut send, mut recv) = session.open_bi().await.map_err(text)?;
    send.write_all(first).await.map_err(text)?;
    recv.read(&mut [0; 1]).await.map_err(text)?;
    Ok((send, recv))
}

/// Says which codes were sent, so that the other side compares.
async fn report(session: &impl Session) -> Outcome {
    let codes: Vec<_> = CODES.iter().map(u32::to_string).collect();
    let (mut send, _recv) = session.open_bi().await.map_err(text)?;
    send.write_all(codes.join(",").as_bytes())
        .await
        .map_err(text)?;
    send.finish().map_err(text)?;
    let _ = send.closed().await;
    Ok(())
}

async fn reset_out(session: &impl Session) -> Outcome {
    let mut open = Vec::new();

    for code in CODES {
        let (mut send, recv) = opened(session, b"x").await?;
        send.reset(code);
        open.push((send, recv));
    }
    report(session).await
}

async fn stop_out(session: &impl Session) -> Outcome {
    let mut open = Vec::new();

    for code in CODES {
        let (send, mut recv) = opened(session, b"x").await?;
        recv.stop(code);
        open.push((send, recv));
    }
    report(session).await
}

/// The other side resets its half of a stream with the code that it reads.
async fn reset_in(session: &impl Session) -> Outcome {
    for code in CODES {
        let (mut send, mut recv) = session.open_bi().await.map_err(text)?;
        send.write_all(format!("{code}\n").as_bytes())
            .await
            .map_err(text)?;
        match recv.read_all().await {
            Ok(data) => return Err(format!("{code}: {data:?}")),
            Err(e) => {
                expect(e.stream_error(), Some(code)).map_err(|why| format!("{code}: {why}, {e}"))?
            }
        }
    }
    Ok(())
}

/// The other side stops our half of a stream with the code that it reads; not
/// all libraries say so before something is written.
async fn stop_in(session: &impl Session) -> Outcome {
    for code in CODES {
        let (mut send, _recv) = session.open_bi().await.map_err(text)?;
        send.write_all(format!("{code}\n").as_bytes())
            .await
            .map_err(text)?;

        let error = loop {
            if let Err(error) = send.write(b"x").await {
                break error;
            }
            sleep(Duration::from_millis(1)).await;
        };
        expect(error.stream_error(), Some(code))
            .map_err(|why| format!("{code}: {why}, {error}"))?;
    }
    Ok(())
}
