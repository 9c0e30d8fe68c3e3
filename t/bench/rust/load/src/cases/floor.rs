//! The client of the floor server.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::floor::{Sealer, OVERHEAD};
use crate::meter::Meter;
use crate::options::Options;
use crate::pattern::Messages;
use crate::udp::{self, Peer, TRAIN};
use crate::window::Window;
use crate::{quic, Result};

const INFLIGHT: usize = 64;
const PACKETS_OF_A_TRAIN: usize = 16;
const LOST_AFTER: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    let group = if options.gso { PACKETS_OF_A_TRAIN } else { 1 };
    let mut flow = Flow::new(options, meter, group)?;

    let begin = Instant::now();
    while meter.continues(begin) {
        flow.turn()?;
    }

    meter.start();
    let begin = Instant::now();
    while meter.continues(begin) {
        flow.turn()?;
    }

    if !meter.is_over() {
        meter.stop();
    }
    Ok(())
}

struct Flow {
    socket: std::net::UdpSocket,
    meter: Rc<Meter>,
    messages: Messages,
    sealer: Sealer,
    window: Window,
    group: usize,
    room: usize,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// When something came, and when the window was searched.
    last: Instant,
    swept: Instant,
}

impl Flow {
    fn new(options: &Options, meter: &Rc<Meter>, group: usize) -> Result<Self> {
        let address = options.target.address;
        let socket = quic::socket(quic::any_address(address))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(LOST_AFTER))?;

        if options.gso {
            udp::enable_gro(&socket)?;
        }

        Ok(Self {
            socket,
            meter: meter.clone(),
            messages: Messages::new(Vec::new(), options.size)?,
            sealer: Sealer::new(0)?,
            window: Window::default(),
            group,
            room: options.inflight.unwrap_or(INFLIGHT).max(group),
            buffer: vec![0; TRAIN],
            out: Vec::with_capacity(TRAIN),
            last: Instant::now(),
            swept: Instant::now(),
        })
    }

    /// Sends what may be sent and receives once.
    fn turn(&mut self) -> Result<()> {
        while self.room >= self.group {
            self.send()?;
        }

        let mut peer = Peer::default();

        match udp::receive(&self.socket, &mut self.buffer, &mut peer) {
            Ok((length, segment)) => self.take(length, segment),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self) -> Result<()> {
        let now = Instant::now();
        self.out.clear();

        for _ in 0..self.group {
            let number = self.window.send(now);
            self.sealer.seal(&self.messages.make(number), &mut self.out)?;
        }

        self.room -= self.group;
        let segment = self.messages.size() + OVERHEAD;
        udp::send(&self.socket, &self.out, segment, None)
    }

    fn take(&mut self, length: usize, segment: usize) -> Result<()> {
        for packet in self.buffer[..length].chunks_mut(segment.max(1)) {
            let content = self.sealer.open(packet)?;
            let number = self.messages.number(content)?;

            if let Some(sent) = self.window.back(number)? {
                self.meter.done(content.len(), sent);
                self.room += 1;
            }
        }

        self.last = Instant::now();

        if self.last - self.swept > LOST_AFTER {
            self.expire();
        }
        Ok(())
    }

    /// Nothing has come for some time.
    fn wait(&mut self) -> Result<()> {
        if self.last.elapsed() > PATIENCE {
            return Err("nothing has come back for 5 seconds".into());
        }
        self.expire();
        Ok(())
    }

    /// Replaces those that are lost.
    fn expire(&mut self) {
        self.swept = Instant::now();

        for _ in 0..self.window.expire(LOST_AFTER) {
            self.meter.lost();
            self.room += 1;
        }
    }
}
