//! web-transport-quiche: one session per connection.

use interop::{run, Arguments, Client};
use web_transport_quiche::{proto::ConnectRequest, ClientBuilder, Connection};

struct Quiche<'a>(&'a Arguments);

impl Client for Quiche<'_> {
    type Session = Connection;

    async fn connect(&self, path: &str, protocols: &[&str]) -> Result<Connection, String> {
        let url = url::Url::parse(&format!("{}{path}", self.0.url)).unwrap();
        let request =
            ConnectRequest::new(url).with_protocols(protocols.iter().map(|p| p.to_string()));

        ClientBuilder::new()
            .with_server_certificate_hashes(vec![self.0.hash])
            .connect(request)
            .await
            .map_err(|e| e.to_string())?
            .established()
            .await
            .map_err(|e| e.to_string())
    }

    fn unsupported(&self, feature: &str) -> Option<&'static str> {
        match feature {
            "close-out" => Some("close() closes the QUIC connection, without a capsule"),
            "drain-in" | "drain-out" => Some("no API for DRAIN"),
            "pooling" => Some("one session per connection"),
            _ => None,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    run(Quiche(&arguments), &arguments).await;
}
