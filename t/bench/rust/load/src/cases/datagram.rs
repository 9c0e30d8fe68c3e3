//! Datagrams to and fro.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::open_sessions;
use crate::meter::Meter;
use crate::options::Options;
use crate::pace::{pass, Pacer};
use crate::pattern::Messages;
use crate::session::Session;
use crate::window::Window;
use crate::Result;

const LOST_AFTER: Duration = Duration::from_millis(200);

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let (endpoints, sessions) = open_sessions(options).await?;
    let mut flows = Vec::new();

    for session in sessions {
        flows.push(Rc::new(Flow::new(session, options, meter)?));
    }

    meter.watch();

    for flow in &flows {
        meter.spawn(flow.clone().receive());
        meter.spawn(flow.clone().expire());
    }

    if let Some(rate) = options.rate {
        meter.spawn(send(flows, rate));
    }

    meter.run().await;
    crate::meter::close(&endpoints).await;
    Ok(())
}

/// The datagrams of one session.
struct Flow {
    session: Session,
    header: Vec<u8>,
    meter: Rc<Meter>,
    burst: usize,

    /// Without a rate, answers are what makes it send more.
    closed_loop: bool,

    state: RefCell<State>,
}

struct State {
    messages: Messages,
    window: Window,

    /// How many more may be under way.
    room: usize,
}

impl Flow {
    fn new(
        session: Session,
        options: &Options,
        meter: &Rc<Meter>,
    ) -> Result<Self> {
        let header = session.datagram_header();
        Ok(Self {
            state: RefCell::new(State {
                messages: Messages::new(header.clone(), options.size)?,
                window: Window::default(),
                room: options.inflight.unwrap_or(64).max(options.burst),
            }),
            burst: options.burst,
            closed_loop: options.rate.is_none(),
            meter: meter.clone(),
            header,
            session,
        })
    }

    fn send(&self, at: Instant) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let number = state.window.send(at);
        let message = state.messages.make(number);
        Ok(self.session.client.quic.send_datagram(message)?)
    }

    /// Sends as many groups as there is room for, each one by itself.
    async fn refill(&self) -> Result<()> {
        while self.closed_loop && self.state.borrow().room >= self.burst {
            self.state.borrow_mut().room -= self.burst;
            let now = Instant::now();
            for _ in 0..self.burst {
                self.send(now)?;
            }
            pass().await;
        }
        Ok(())
    }

    async fn receive(self: Rc<Self>) -> Result<()> {
        self.refill().await?;

        loop {
            let datagram = self.session.client.quic.read_datagram().await?;
            let message = datagram
                .strip_prefix(&self.header[..])
                .ok_or("a datagram of another session")?;

            let sent = {
                let mut state = self.state.borrow_mut();
                let number = state.messages.number(message)?;
                state.window.back(number)?
            };

            if let Some(sent) = sent {
                self.meter.done(message.len(), sent);
                self.state.borrow_mut().room += 1;
            }

            self.refill().await?;
        }
    }

    /// Replaces those that are lost.
    async fn expire(self: Rc<Self>) -> Result<()> {
        loop {
            sleep(LOST_AFTER / 4).await;
            let lost = self.state.borrow_mut().window.expire(LOST_AFTER);

            for _ in 0..lost {
                self.meter.lost();
            }

            self.state.borrow_mut().room += lost;

            self.refill().await?;
        }
    }
}

/// Sends at a rate, with the sessions in turn.
async fn send(flows: Vec<Rc<Flow>>, rate: f64) -> Result<()> {
    let mut pacer = Pacer::new(rate);
    for flow in flows.iter().cycle() {
        let due = pacer.next().await;
        flow.send(due)?;
        pass().await;
    }
    Ok(())
}
