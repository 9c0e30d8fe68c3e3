//! Many connections on which nothing happens.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;

use quinn::{Connection, Endpoint};
use tokio::sync::oneshot;

use super::{endpoints, SHARE};
use crate::h3::{self, Client};
use crate::meter::Meter;
use crate::options::Options;
use crate::session::Session;
use crate::Result;

/// So many handshakes go on at a time.
const OPENERS: usize = 8;

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let endpoints = endpoints(options)?;
    let crowd = Rc::new(Crowd {
        options: options.clone(),
        endpoints: endpoints.clone(),
        next: Cell::new(0),
        members: RefCell::new(Vec::new()),
    });

    let mut openers = Vec::new();
    for _ in 0..OPENERS {
        openers.push(meter.spawn(crowd.clone().open()));
    }
    for opener in openers {
        opener.await?;
    }

    println!("{{\"ready\": {}}}", options.sessions);

    meter.start();
    end_of_input().await;
    meter.stop();
    meter.count(options.sessions, 0);

    for member in crowd.members.borrow().iter() {
        if let Some(reason) = member.quic().close_reason() {
            return Err(reason.into());
        }
    }

    crate::meter::close(&endpoints).await;
    Ok(())
}

struct Crowd {
    options: Options,
    endpoints: Vec<Endpoint>,
    next: Cell<usize>,
    members: RefCell<Vec<Member>>,
}

enum Member {
    Session(Session),
    Plain(Client),
}

impl Member {
    fn quic(&self) -> &Connection {
        match self {
            Member::Session(session) => &session.client.quic,
            Member::Plain(client) => &client.quic,
        }
    }
}

impl Crowd {
    async fn open(self: Rc<Self>) -> Result<()> {
        loop {
            let i = self.next.replace(self.next.get() + 1);
            if i >= self.options.sessions {
                return Ok(());
            }

            let endpoint = &self.endpoints[i / SHARE];
            let target = &self.options.target;

            let member = if self.options.plain {
                let client = Client::connect(endpoint, target, None).await?;
                get(&client).await?;
                Member::Plain(client)
            } else {
                Member::Session(Session::open(endpoint, target, None).await?)
            };

            self.members.borrow_mut().push(member);
        }
    }
}

async fn get(client: &Client) -> Result<()> {
    let (mut send, mut answer) = client.request(&client.get()).await?;
    send.finish()?;

    match h3::status(&mut answer).await? {
        200 => answer.drain().await,
        status => Err(format!("{status} instead of 200").into()),
    }
}

/// Waits until nobody writes to standard input any more.
async fn end_of_input() {
    let (done, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = done.send(());
    });
    let _ = end.await;
}
