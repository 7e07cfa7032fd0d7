//! Messages in flight: sent, and not yet received by all readers of their channel.

use std::collections::VecDeque;

/// Messages in flight, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// The number of the oldest.
    first: u64,
    /// Of each, how many readers are still to get it.
    awaited: VecDeque<u32>,
    in_flight: usize,
}

impl Flight {
    /// Sends the next message to the given number of readers; returns its number.
    pub(crate) fn send(&mut self, readers: u32) -> u64 {
        let seq = self.sent();
        self.awaited.push_back(readers);
        self.in_flight += usize::from(readers > 0);
        self.land();
        seq
    }

    /// A reader got a message for the first time.
    pub(crate) fn arrived(&mut self, seq: u64) {
        let at = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(awaited) = at.and_then(|at| self.awaited.get_mut(at)).filter(|awaited| **awaited > 0) else { return };
        *awaited -= 1;
        if *awaited == 0 {
            self.in_flight -= 1;
            self.land();
        }
    }

    fn land(&mut self) {
        while self.awaited.front() == Some(&0) {
            self.awaited.pop_front();
            self.first += 1;
        }
    }

    /// How many have been sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.first + self.awaited.len() as u64
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_delivered_when_every_reader_has_it() {
        let mut flight = Flight::default();
        assert_eq!((flight.send(2), flight.send(1), flight.send(0)), (0, 1, 2));
        assert_eq!((flight.len(), flight.sent()), (2, 3));
        flight.arrived(1);
        assert_eq!(flight.len(), 1);
        flight.arrived(0);
        assert_eq!(flight.len(), 1);
        flight.arrived(0);
        assert_eq!((flight.len(), flight.sent()), (0, 3));
        // Once more, or never sent: nothing to count.
        flight.arrived(0);
        flight.arrived(9);
        assert_eq!((flight.len(), flight.send(1)), (0, 3));
    }
}
