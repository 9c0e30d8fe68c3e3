//! Numbered messages that are under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Result;

/// The messages from number `first` on that have been sent; those that have
/// come back are None.
#[derive(Default)]
pub struct Window {
    first: u64,
    sent: VecDeque<Option<Instant>>,
}

impl Window {
    /// A message is sent; returns its number.
    pub fn send(&mut self, at: Instant) -> u64 {
        self.sent.push_back(Some(at));
        self.first + self.sent.len() as u64 - 1
    }

    /// A message is back; returns when it was sent, or None if it had been
    /// given up.
    pub fn back(&mut self, number: u64) -> Result<Option<Instant>> {
        let Some(index) = number.checked_sub(self.first) else {
            return Ok(None);
        };

        let Some(slot) = self.sent.get_mut(index as usize) else {
            return Err(format!("{number} was never sent").into());
        };

        let Some(at) = slot.take() else {
            return Err(format!("{number} has come back twice").into());
        };

        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.first += 1;
        }

        Ok(Some(at))
    }

    /// Gives up what is under way for too long; returns how many.
    pub fn expire(&mut self, age: Duration) -> usize {
        let mut lost = 0;

        while let Some(front) = self.sent.front() {
            match front {
                Some(at) if at.elapsed() < age => break,
                Some(_) => lost += 1,
                None => {}
            }
            self.sent.pop_front();
            self.first += 1;
        }

        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_once() {
        let mut window = Window::default();
        let now = Instant::now();
        assert_eq!((window.send(now), window.send(now)), (0, 1));
        assert_eq!(window.back(1).unwrap(), Some(now));
        assert!(window.back(1).is_err());
        assert!(window.back(2).is_err());
        assert_eq!(window.send(now), 2);
        assert_eq!(window.expire(Duration::ZERO), 2);
        assert_eq!(window.back(0).unwrap(), None);
        assert_eq!(window.send(now), 3);
    }
}
