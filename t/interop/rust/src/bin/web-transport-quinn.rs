//! web-transport-quinn: one session per connection.

use interop::{run, Arguments, Client};
use web_transport_quinn::{proto::ConnectRequest, ClientBuilder, Session};

struct Quinn<'a>(&'a Arguments);

impl Client for Quinn<'_> {
    type Session = Session;

    async fn connect(&self, path: &str, protocols: &[&str]) -> Result<Session, String> {
        let url = url::Url::parse(&format!("{}{path}", self.0.url)).unwrap();
        let request =
            ConnectRequest::new(url).with_protocols(protocols.iter().map(|p| p.to_string()));

        ClientBuilder::new()
            .with_server_certificate_hashes(vec![self.0.hash.to_vec()])
            .map_err(|e| e.to_string())?
            .connect(request)
            .await
            .map_err(|e| e.to_string())
    }

    fn unsupported(&self, feature: &str) -> Option<&'static str> {
        match feature {
            "drain-in" | "drain-out" => Some("no API for DRAIN"),
            "pooling" => Some("one session per connection"),
            _ => None,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    run(Quinn(&arguments), &arguments).await;
}
