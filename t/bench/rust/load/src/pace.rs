//! When things are sent.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep;

/// Lets the tasks run that are ready, so that quinn sends what it has now, and
/// not together with what comes next.  Unlike yield_now() it does not ask the
/// kernel for events.
pub async fn pass() {
    let mut passed = false;
    poll_fn(|context| {
        if passed {
            return Poll::Ready(());
        }
        passed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// tokio's timers have milliseconds; what is nearer is waited for actively.
const COARSE: Duration = Duration::from_millis(2);

pub struct Pacer {
    due: Instant,
    interval: Duration,
}

impl Pacer {
    pub fn new(rate: f64) -> Self {
        Self {
            due: Instant::now(),
            interval: Duration::from_secs_f64(1.0 / rate),
        }
    }

    /// Waits for the next operation and returns when it was due: what is late
    /// because the server is slow counts as latency.
    pub async fn next(&mut self) -> Instant {
        loop {
            let now = Instant::now();
            let due = self.due;

            if now >= due {
                self.due += self.interval;
                return due;
            }

            if due - now > COARSE {
                sleep(due - now - COARSE).await;
            } else {
                yield_now().await;
            }
        }
    }
}
