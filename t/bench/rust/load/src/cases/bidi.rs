//! Short bidirectional streams: a message, FIN, and the same back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use super::open_sessions;
use crate::meter::Meter;
use crate::options::Options;
use crate::pattern::Messages;
use crate::reader::Reader;
use crate::session::Session;
use crate::Result;

pub async fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let (endpoints, sessions) = open_sessions(options).await?;

    meter.watch();

    for session in sessions {
        let header = session.bidi_header();
        let messages = Messages::new(header, options.size)?;
        let source = Rc::new(Source {
            session,
            messages: RefCell::new(messages),
            number: RefCell::new(0),
        });

        for _ in 0..options.inflight.unwrap_or(1) {
            meter.spawn(source.clone().repeat(meter.clone()));
        }
    }

    meter.run().await;
    crate::meter::close(&endpoints).await;
    Ok(())
}

/// The streams of one session.
struct Source {
    session: Session,
    messages: RefCell<Messages>,
    number: RefCell<u64>,
}

impl Source {
    async fn repeat(self: Rc<Self>, meter: Rc<Meter>) -> Result<()> {
        let size = self.messages.borrow().size();

        loop {
            let number = self.number.replace_with(|number| *number + 1);
            let message = self.messages.borrow_mut().make(number);
            let begin = Instant::now();

            let (mut send, recv) = self.session.client.quic.open_bi().await?;
            send.write_chunk(message).await?;
            send.finish()?;

            let answer = Reader::new(recv).all(size).await?;

            if self.messages.borrow().number(&answer)? != number {
                return Err("the answer to another stream".into());
            }

            meter.done(size, begin);
        }
    }
}
