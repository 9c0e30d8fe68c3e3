//! The load generator: see options::USAGE, or "load" without arguments.

use std::rc::Rc;

use load::meter::Meter;
use load::options::Options;
use load::{cases, fail, Result};
use tokio::runtime::{self, LocalOptions};

fn main() {
    if let Err(error) = Options::parse(std::env::args().skip(1)).and_then(run) {
        fail(error);
    }
}

fn run(options: Options) -> Result<()> {
    // One thread: the client has one core, and the server the other.  Tasks
    // of ours and of quinn are in one queue, which pass() relies on.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;

    let meter = Meter::new(&options);
    runtime.block_on(run_case(&options, &meter))?;
    println!("{}", meter.report()?);
    Ok(())
}

async fn run_case(options: &Options, meter: &Rc<Meter>) -> Result<()> {
    match options.case.as_str() {
        "datagram" => cases::datagram::run(options, meter).await,
        "bidi" => cases::bidi::run(options, meter).await,
        "uni" => cases::uni::run(options, meter).await,
        "bulk" => cases::bulk::run(options, meter).await,
        "handshake" => cases::handshake::run(options, meter).await,
        "idle" => cases::idle::run(options, meter).await,
        "http" => cases::http::run(options, meter).await,
        "floor" => cases::floor::run(options, meter),
        case => Err(format!("unknown case {case}").into()),
    }
}
