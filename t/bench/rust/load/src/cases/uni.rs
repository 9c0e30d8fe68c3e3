//! Short unidirectional streams, each of which the server answers with one of
//! its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::{endpoints, SHARE};
use crate::h3::UniSink;
use crate::meter::Meter;
use crate::options::Options;
use crate::pace::{pass, Pacer};
use crate::pattern::Messages;
use crate::quic::MANY_STREAMS;
use crate::session::Session;
use crate::window::Window;
use crate::Result;

const RATE: f64 = 5000.0;

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let endpoints = endpoints(options)?;
    let mut flows = Vec::new();

    for i in 0..options.sessions {
        let answers = Rc::new(Answers {
            messages: Messages::new(Vec::new(), options.size)?,
            window: RefCell::new(Window::default()),
            room: Semaphore::new(options.inflight.unwrap_or(0)),
            meter: meter.clone(),
        });

        let endpoint = &endpoints[i / SHARE];
        let sink = Some(sink(answers.clone()));
        let session = Session::open(endpoint, &options.target, sink).await?;
        let messages = Messages::new(session.uni_header(), options.size)?;

        session.client.quic.set_max_concurrent_uni_streams(MANY_STREAMS.into());

        flows.push(Rc::new(Flow {
            session,
            messages: RefCell::new(messages),
            answers,
        }));
    }

    meter.watch();

    if options.inflight.is_some() && options.rate.is_none() {
        for flow in flows {
            meter.spawn(flow.repeat());
        }
    } else {
        meter.spawn(send(flows, options.rate.unwrap_or(RATE)));
    }

    meter.run().await;
    crate::meter::close(&endpoints).await;
    Ok(())
}

/// The streams of one session that are ours,
struct Flow {
    session: Session,
    messages: RefCell<Messages>,
    answers: Rc<Answers>,
}

/// and those of the server.
struct Answers {
    messages: Messages,
    window: RefCell<Window>,
    room: Semaphore,
    meter: Rc<Meter>,
}

fn sink(answers: Rc<Answers>) -> UniSink {
    Rc::new(move |content: &[u8]| {
        let number = answers.messages.number(content)?;

        // nothing is ever given up: streams are reliable
        if let Some(sent) = answers.window.borrow_mut().back(number)? {
            answers.meter.done(content.len(), sent);
        }

        answers.room.add_permits(1);
        Ok(())
    })
}

impl Flow {
    async fn send(&self, at: Instant) -> Result<()> {
        let number = self.answers.window.borrow_mut().send(at);
        let message = self.messages.borrow_mut().make(number);

        let mut stream = self.session.client.quic.open_uni().await?;
        stream.write_chunk(message).await?;
        Ok(stream.finish()?)
    }

    async fn repeat(self: Rc<Self>) -> Result<()> {
        loop {
            self.answers.room.acquire().await?.forget();
            self.send(Instant::now()).await?;
        }
    }
}

/// Opens streams at a rate, with the sessions in turn.
async fn send(flows: Vec<Rc<Flow>>, rate: f64) -> Result<()> {
    let mut pacer = Pacer::new(rate);
    for flow in flows.iter().cycle() {
        let due = pacer.next().await;
        flow.send(due).await?;
        pass().await;
    }
    Ok(())
}
