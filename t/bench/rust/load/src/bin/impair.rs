//! impair --listen HOST:PORT --connect HOST:PORT --delay MS --loss PERCENT
//! [--seed N]: forwards UDP packets with a delay and random loss, each way.
//!
//! For machines whose kernel has no netem.  It adds no jitter of its own but
//! what the scheduler does; the packets keep their order.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use load::{fail, quic, Result};

const MAX_PACKET: usize = 65536;

/// So many packets of a socket are taken before the next one has its turn.
const TURN: usize = 64;

/// More than this waits nowhere: the rest is lost as in any queue.
const MAX_QUEUE: usize = 100_000;

fn main() {
    if let Err(error) = Options::parse().and_then(|o| Relay::new(o)?.run()) {
        fail(error);
    }
}

struct Options {
    listen: SocketAddr,
    connect: SocketAddr,
    delay: Duration,
    loss: f64,
    seed: u64,
}

impl Options {
    fn parse() -> Result<Self> {
        let (mut listen, mut connect) = (None, None);
        let (mut delay, mut loss, mut seed) = (Duration::ZERO, 0.0, 1);
        let mut args = std::env::args().skip(1);

        while let Some(arg) = args.next() {
            let value = args.next().ok_or(format!("{arg} what?"))?;
            match arg.as_str() {
                "--listen" => listen = Some(value.parse()?),
                "--connect" => connect = Some(value.parse()?),
                "--delay" => {
                    let ms: f64 = value.parse()?;
                    delay = Duration::try_from_secs_f64(ms / 1e3)?;
                }
                "--loss" => loss = value.parse::<f64>()? / 100.0,
                "--seed" => seed = value.parse()?,
                _ => return Err(format!("unknown option {arg}").into()),
            }
        }

        Ok(Self {
            listen: listen.ok_or("--listen is missing")?,
            connect: connect.ok_or("--connect is missing")?,
            delay,
            loss,
            seed,
        })
    }
}

/// Each client has a socket of its own towards the server.
struct Client {
    address: SocketAddr,
    socket: UdpSocket,
}

struct Packet {
    due: Instant,
    client: usize,
    up: bool,
    bytes: Box<[u8]>,
}

struct Relay {
    options: Options,
    socket: UdpSocket,
    clients: Vec<Client>,
    numbers: HashMap<SocketAddr, usize>,
    queue: VecDeque<Packet>,
    dice: Dice,
    buffer: Vec<u8>,
}

impl Relay {
    fn new(options: Options) -> Result<Self> {
        let socket = quic::socket(options.listen)?;
        socket.set_nonblocking(true)?;

        Ok(Self {
            socket,
            clients: Vec::new(),
            numbers: HashMap::new(),
            queue: VecDeque::new(),
            dice: Dice::new(options.seed),
            buffer: vec![0; MAX_PACKET],
            options,
        })
    }

    fn run(mut self) -> Result<()> {
        println!("ready");

        loop {
            let ready = self.wait()?;

            self.deliver();

            for i in ready {
                match i.checked_sub(1) {
                    None => self.take_up()?,
                    Some(client) => self.take_down(client)?,
                }
            }
        }
    }

    /// Waits until a packet is due or comes.  Returns which sockets have some:
    /// 0 is that of the clients, then those towards the server.
    fn wait(&self) -> Result<Vec<usize>> {
        let poll = |socket: &UdpSocket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };

        let mut all = vec![poll(&self.socket)];
        all.extend(self.clients.iter().map(|client| poll(&client.socket)));

        let timeout = self.queue.front().map(|packet| {
            let left = packet.due.saturating_duration_since(Instant::now());
            libc::timespec {
                tv_sec: left.as_secs() as _,
                tv_nsec: left.subsec_nanos() as _,
            }
        });
        let timeout =
            timeout.as_ref().map_or(std::ptr::null(), |t| &raw const *t);

        // SAFETY: the array and the time outlive the call
        let found = unsafe {
            libc::ppoll(
                all.as_mut_ptr(),
                all.len() as _,
                timeout,
                std::ptr::null(),
            )
        };

        if found < 0 {
            return Err(io::Error::last_os_error().into());
        }

        let ready = all.iter().enumerate().filter(|(_, p)| p.revents != 0);
        Ok(ready.map(|(i, _)| i).collect())
    }

    /// Packets of clients.
    fn take_up(&mut self) -> Result<()> {
        for _ in 0..TURN {
            let (length, from) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if is_nothing(&error) => break,
                Err(error) => return Err(error.into()),
            };

            let client = match self.numbers.get(&from) {
                Some(&client) => client,
                None => self.add(from)?,
            };

            self.enqueue(client, true, length);
        }
        Ok(())
    }

    fn add(&mut self, address: SocketAddr) -> Result<usize> {
        let server = self.options.connect;
        let socket = quic::socket(quic::any_address(server))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;

        self.clients.push(Client { address, socket });
        self.numbers.insert(address, self.clients.len() - 1);
        Ok(self.clients.len() - 1)
    }

    /// Packets of the server.
    fn take_down(&mut self, client: usize) -> Result<()> {
        for _ in 0..TURN {
            match self.clients[client].socket.recv(&mut self.buffer) {
                Ok(length) => self.enqueue(client, false, length),
                Err(error) if is_nothing(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, client: usize, up: bool, length: usize) {
        if self.dice.next() < self.options.loss || self.queue.len() >= MAX_QUEUE
        {
            return;
        }

        self.queue.push_back(Packet {
            due: Instant::now() + self.options.delay,
            client,
            up,
            bytes: self.buffer[..length].into(),
        });
    }

    /// Sends what is due.  What the kernel does not take is lost.
    fn deliver(&mut self) {
        let now = Instant::now();

        while self.queue.front().is_some_and(|packet| packet.due <= now) {
            let Some(packet) = self.queue.pop_front() else { return };
            let client = &self.clients[packet.client];
            let _ = if packet.up {
                client.socket.send(&packet.bytes)
            } else {
                self.socket.send_to(&packet.bytes, client.address)
            };
        }
    }
}

/// A server that is gone is for its client to notice.
fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Numbers from 0 to 1, the same ones for each seed: the generator is
/// Vigna's xorshift64*.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}
