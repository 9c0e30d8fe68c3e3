//! floor-server --listen HOST:PORT [--gso]: echoes encrypted packets one by
//! one, or with --gso in trains.

use std::net::SocketAddr;

use load::{fail, floor, quic, udp, Result};

fn main() {
    if let Err(error) = run() {
        fail(error);
    }
}

fn run() -> Result<()> {
    let mut listen: Option<SocketAddr> = None;
    let mut gso = false;
    let mut args = std::env::args().skip(1);

    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--gso" => gso = true,
            "--listen" => listen = Some(args.next().ok_or("where?")?.parse()?),
            _ => return Err(format!("unknown option {arg}").into()),
        }
    }

    let socket = quic::socket(listen.ok_or("--listen is missing")?)?;

    if gso {
        udp::enable_gro(&socket)?;
    }

    println!("ready");
    floor::serve(&socket)
}
