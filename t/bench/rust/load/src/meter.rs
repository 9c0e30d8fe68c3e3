//! What is measured, and when: a warm-up, then the phase that counts.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::options::Options;
use crate::{fail, Result};

/// When nothing has happened for so long, something is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// More lost datagrams than this part of all are no measurement.
const MAX_LOST: f64 = 0.2;

pub struct Meter {
    case: String,
    cpu: Vec<u32>,
    warmup: Duration,
    seconds: Duration,
    limit: Option<u64>,

    measuring: Cell<bool>,
    over: Cell<bool>,
    full: Notify,
    progress: Cell<u64>,

    ops: Cell<u64>,
    bytes: Cell<u64>,
    lost: Cell<u64>,
    latency: RefCell<Histogram>,

    begin: RefCell<Option<Reading>>,
    end: RefCell<Option<Reading>>,
}

/// Clocks, read together.
struct Reading {
    time: Instant,
    own: u64,
    servers: Vec<u64>,
}

impl Meter {
    pub fn new(options: &Options) -> Rc<Self> {
        Rc::new(Self {
            case: options.case.clone(),
            cpu: options.cpu.clone(),
            warmup: options.warmup,
            seconds: options.seconds,
            limit: options.ops,
            measuring: Cell::new(false),
            over: Cell::new(false),
            full: Notify::new(),
            progress: Cell::new(0),
            ops: Cell::new(0),
            bytes: Cell::new(0),
            lost: Cell::new(0),
            latency: RefCell::new(Histogram::default()),
            begin: RefCell::new(None),
            end: RefCell::new(None),
        })
    }

    /// Something has happened that shows that the server is alive.
    pub fn alive(&self) {
        self.progress.set(self.progress.get() + 1);
    }

    /// An operation is done.
    pub fn done(&self, bytes: usize, since: Instant) {
        self.alive();

        if !self.measuring.get() {
            return;
        }

        let ops = self.ops.get() + 1;
        self.ops.set(ops);
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.latency.borrow_mut().add(since.elapsed());

        if self.limit.is_some_and(|limit| ops >= limit) {
            self.stop();
            self.full.notify_one();
        }
    }

    pub fn lost(&self) {
        if self.measuring.get() {
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// Operations that were not counted one by one.
    pub fn count(&self, ops: usize, bytes: usize) {
        self.ops.set(self.ops.get() + ops as u64);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Lets the tasks that make the load run for as long as it takes.
    pub async fn run(&self) {
        sleep(self.warmup).await;
        self.start();

        if self.limit.is_some() {
            self.full.notified().await;
        } else {
            sleep(self.seconds).await;
            self.stop();
        }
    }

    /// For those that do not wait with run(): whether the warm-up or the
    /// measured phase, which has begun at some time, takes longer still.
    pub fn continues(&self, since: Instant) -> bool {
        if self.measuring.get() {
            self.limit.is_some() || since.elapsed() < self.seconds
        } else {
            !self.over.get() && since.elapsed() < self.warmup
        }
    }

    pub fn start(&self) {
        *self.begin.borrow_mut() = Some(self.read());
        self.measuring.set(true);
    }

    pub fn stop(&self) {
        self.measuring.set(false);
        self.over.set(true);
        *self.end.borrow_mut() = Some(self.read());
    }

    fn read(&self) -> Reading {
        let servers = self.cpu.iter().map(|&pid| match cpu_ns(pid) {
            Ok(ns) => ns,
            Err(error) => fail(format_args!("CPU time of {pid}: {error}")),
        });
        Reading {
            servers: servers.collect(),
            time: Instant::now(),
            own: own_cpu_ns(),
        }
    }

    /// Ends the program when nothing happens any more.
    pub fn watch(self: &Rc<Self>) {
        let meter = self.clone();
        spawn_local(async move {
            loop {
                let before = meter.progress.get();
                sleep(PATIENCE).await;
                if meter.over.get() {
                    return;
                }
                if meter.progress.get() == before {
                    fail("nothing has come back for 5 seconds");
                }
            }
        });
    }

    /// Runs a part of the load beside others; an error ends the program.
    pub fn spawn(
        self: &Rc<Self>,
        part: impl std::future::Future<Output = Result<()>> + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let meter = self.clone();
        spawn_local(async move {
            if let Err(error) = part.await {
                if !meter.over.get() {
                    fail(error);
                }
            }
        })
    }

    pub fn report(&self) -> Result<String> {
        let (begin, end) = (self.begin.borrow(), self.end.borrow());
        let (Some(begin), Some(end)) = (&*begin, &*end) else {
            return Err("nothing was measured".into());
        };

        let (ops, lost) = (self.ops.get(), self.lost.get());

        if ops == 0 {
            return Err("nothing came back".into());
        }

        if lost as f64 > MAX_LOST * (ops + lost) as f64 {
            return Err(format!("{lost} of {} are lost", ops + lost).into());
        }

        let mut cpu = String::new();
        for (i, pid) in self.cpu.iter().enumerate() {
            let ns = end.servers[i] - begin.servers[i];
            let comma = if i > 0 { ", " } else { "" };
            write!(cpu, "{comma}\"{pid}\": {ns}")?;
        }

        Ok(format!(
            "{{\"case\": \"{}\", \"ops\": {ops}, \"bytes\": {}, \
             \"seconds\": {:.6}, \"lost\": {lost}, \"cpu_ns\": {{{cpu}}}, \
             \"latency_us\": {}, \"client_cpu_ns\": {}}}",
            self.case,
            self.bytes.get(),
            (end.time - begin.time).as_secs_f64(),
            self.latency.borrow().json(),
            end.own - begin.own,
        ))
    }
}

/// Time on a CPU of all threads of a process.
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().ok_or("no schedstat")?;
        sum += first.parse::<u64>()?;
    }
    Ok(sum)
}

fn own_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a timespec that lives until the call returns
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Closes what is open, so that the server need not wait for timeouts.
pub async fn close(endpoints: &[quinn::Endpoint]) {
    for endpoint in endpoints {
        endpoint.close(crate::h3::no_error(), b"");
    }
    let idle = async {
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    };
    let _ = timeout(Duration::from_secs(1), idle).await;
}

/// Counts of durations, 32 steps for each power of 2: within 3 %.
struct Histogram {
    counts: Vec<u64>,
    max: u64,
}

const STEPS: u32 = 5;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 60 << STEPS], max: 0 }
    }
}

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let ns = duration.as_nanos() as u64;
        self.counts[Self::slot(ns)] += 1;
        self.max = self.max.max(ns);
    }

    fn slot(ns: u64) -> usize {
        let power = ns.max(1).ilog2();
        if power <= STEPS {
            return ns as usize;
        }
        let shift = power - STEPS;
        ((shift as usize) << STEPS) + (ns >> shift) as usize
    }

    /// The middle of a slot.
    fn middle(slot: usize) -> f64 {
        let shift = (slot >> STEPS).saturating_sub(1);
        let base = slot - (shift << STEPS);
        ((base as f64) + if shift > 0 { 0.5 } else { 0.0 })
            * (1u64 << shift) as f64
    }

    fn quantile(&self, part: f64) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (part * all as f64).ceil() as u64;
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Self::middle(slot).min(self.max as f64);
            }
        }
        0.0
    }

    fn json(&self) -> String {
        format!(
            "{{\"p50\": {:.1}, \"p90\": {:.1}, \"p99\": {:.1}, \
             \"max\": {:.1}}}",
            self.quantile(0.5) / 1e3,
            self.quantile(0.9) / 1e3,
            self.quantile(0.99) / 1e3,
            self.max as f64 / 1e3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_three_percent() {
        let mut histogram = Histogram::default();
        for ns in 1..=100_000 {
            histogram.add(Duration::from_nanos(ns));
        }
        for part in [0.0001, 0.01, 0.5, 0.9, 0.99, 1.0] {
            let exact = part * 100_000.0;
            let ratio = histogram.quantile(part) / exact;
            assert!((0.97..1.03).contains(&ratio), "{part}: {ratio}");
        }
    }

    #[test]
    fn slots_have_no_gaps() {
        let mut last = 0;
        for ns in 0..100_000 {
            let slot = Histogram::slot(ns);
            assert!(slot == last || slot == last + 1, "{ns}");
            last = slot;
        }
        assert!(Histogram::slot(u64::MAX) < 60 << STEPS);
    }
}
