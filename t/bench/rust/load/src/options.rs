//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::Result;

pub const USAGE: &str = "\
usage: load <case> --connect HOST:PORT [options]

cases and their options, with defaults
  datagram   --size 100 --sessions 1 --inflight 64 --burst 1
             --rate N: so many per second, in all, whatever comes back
  bidi       --size 100 --sessions 1 --inflight 1
  uni        --size 100 --sessions 1 --rate 5000
             --inflight N: so many streams are under way, instead of the rate
  bulk       --direction up|down|both --streams 1 --bytes 100000000 (in all)
  handshake  --inflight 8
  idle       --sessions 1: holds them until standard input is closed
             --plain: connections with one GET request instead of sessions
  http       --path / --inflight 8: GET requests; --upload N: POST of N bytes
  floor      --size 100 --inflight 64: client of the floor-server; --gso

for all
  --name localhost        for SNI, :authority and origin
  --path P                default: /echo, for bulk /discard and /generate
  --protocol webtransport
  --warmup 0.5            seconds before the measured phase
  --seconds 3, --ops N    length of the measured phase
  --cpu PID               measure its CPU time; may be repeated
";

/// Who is asked, and for what.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub name: String,
    pub path: String,
    pub protocol: String,
}

impl Target {
    pub fn authority(&self) -> String {
        format!("{}:{}", self.name, self.address.port())
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Direction {
    Up,
    Down,
    Both,
}

#[derive(Clone)]
pub struct Options {
    pub case: String,
    pub target: Target,
    pub cpu: Vec<u32>,
    pub warmup: Duration,
    pub seconds: Duration,
    pub ops: Option<u64>,
    pub size: usize,
    pub sessions: usize,
    pub inflight: Option<usize>,
    pub burst: usize,
    pub rate: Option<f64>,
    pub direction: Direction,
    pub streams: usize,
    pub bytes: usize,
    pub upload: Option<usize>,
    pub plain: bool,
    pub gso: bool,
}

impl Options {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let case = args.next().ok_or(USAGE)?;

        if case.starts_with('-') {
            return Err(USAGE.into());
        }

        let mut path = None;
        let mut options = Self {
            case,
            target: Target {
                address: ([127, 0, 0, 1], 0).into(),
                name: "localhost".into(),
                path: String::new(),
                protocol: "webtransport".into(),
            },
            cpu: Vec::new(),
            warmup: Duration::from_millis(500),
            seconds: Duration::from_secs(3),
            ops: None,
            size: 100,
            sessions: 1,
            inflight: None,
            burst: 1,
            rate: None,
            direction: Direction::Both,
            streams: 1,
            bytes: 100_000_000,
            upload: None,
            plain: false,
            gso: false,
        };

        while let Some(key) = args.next() {
            match key.as_str() {
                "--plain" => options.plain = true,
                "--gso" => options.gso = true,
                _ => {
                    let value = args.next().ok_or(format!("{key} what?"))?;
                    if key == "--path" {
                        path = Some(value);
                    } else {
                        options.set(&key, value)?;
                    }
                }
            }
        }

        if options.target.address.port() == 0 {
            return Err("--connect is missing".into());
        }

        options.target.path = path.unwrap_or_else(|| options.default_path());
        Ok(options)
    }

    fn set(&mut self, key: &str, value: String) -> Result<()> {
        match key {
            "--connect" => {
                let mut found = value.to_socket_addrs()?;
                self.target.address = found.next().ok_or("no such address")?;
            }
            "--name" => self.target.name = value,
            "--protocol" => self.target.protocol = value,
            "--cpu" => self.cpu.push(value.parse()?),
            "--warmup" => self.warmup = seconds(&value)?,
            "--seconds" => self.seconds = seconds(&value)?,
            "--ops" => self.ops = Some(value.parse()?),
            "--size" => self.size = value.parse()?,
            "--sessions" => self.sessions = positive(&value)?,
            "--inflight" => self.inflight = Some(positive(&value)?),
            "--burst" => self.burst = positive(&value)?,
            "--rate" => self.rate = Some(value.parse()?),
            "--streams" => self.streams = positive(&value)?,
            "--bytes" => self.bytes = positive(&value)?,
            "--upload" => self.upload = Some(value.parse()?),
            "--direction" => {
                self.direction = match value.as_str() {
                    "up" => Direction::Up,
                    "down" => Direction::Down,
                    "both" => Direction::Both,
                    _ => return Err("--direction is up, down or both".into()),
                }
            }
            _ => return Err(format!("unknown option {key}\n{USAGE}").into()),
        }
        Ok(())
    }

    fn default_path(&self) -> String {
        let path = match (self.case.as_str(), self.direction) {
            ("bulk", Direction::Up) => "/discard",
            ("bulk", Direction::Down) => "/generate",
            ("http", _) => "/",
            ("idle", _) if self.plain => "/",
            _ => "/echo",
        };
        path.into()
    }
}

fn seconds(value: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(value.parse()?)?)
}

fn positive(value: &str) -> Result<usize> {
    match value.parse()? {
        0 => Err("0 makes no sense".into()),
        number => Ok(number),
    }
}
