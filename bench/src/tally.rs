//! Whether each reader received each message once and in order.
//!
//! A reader's messages are numbered from 0 on its channel. [`Order`] remembers the next expected number and which of the 64 before it are
//! missing, so that late messages are distinguished from duplicates.

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In its turn, or before its turn: what it passed over is missing until it comes.
    New,
    /// After a later one.
    Late,
    /// A second time.
    Repeat,
}

/// What one reader has got so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order {
    next: u64,
    /// Bit `n`: the message `n + 1` before `next` has not come.
    missing: u64,
    distinct: u64,
}

impl Order {
    /// Counts the message of this number.
    pub(crate) fn arrived(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            let passed = number - self.next;
            // Those passed over become missing, the one that came is not.
            self.missing = self.missing.checked_shl(low(passed + 1)).unwrap_or(0);
            self.missing |= ones(passed) << 1;
            self.next = number + 1;
            self.distinct += 1;
            return Arrival::New;
        }
        let bit = 1_u64.checked_shl(low(self.next - 1 - number)).unwrap_or(0);
        if self.missing & bit == 0 {
            return Arrival::Repeat;
        }
        self.missing &= !bit;
        self.distinct += 1;
        Arrival::Late
    }

    /// How many of the first `sent` messages have not come.
    pub(crate) fn lost(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.distinct)
    }
}

fn low(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn ones(count: u64) -> u64 {
    if count >= 63 { u64::MAX >> 1 } else { (1 << count) - 1 }
}

/// What all readers together have got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Messages that came, the second time included.
    pub(crate) deliveries: u64,
    /// Messages that came a second time.
    pub(crate) repeats: u64,
    /// Messages that came after a later one.
    pub(crate) late: u64,
}

impl Tally {
    /// Counts one arrival.
    pub(crate) fn count(&mut self, arrival: Arrival) {
        self.deliveries += 1;
        match arrival {
            Arrival::New => {}
            Arrival::Late => self.late += 1,
            Arrival::Repeat => self.repeats += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Arrival::*, *};

    fn play(numbers: &[u64]) -> (Vec<Arrival>, Order) {
        let mut order = Order::default();
        (numbers.iter().map(|number| order.arrived(*number)).collect(), order)
    }

    #[test]
    fn late_lost_and_duplicate_messages_are_distinguished() {
        for (numbers, expected, sent, lost) in [
            (&[0, 1, 2][..], vec![New, New, New], 3, 0),
            (&[0, 2, 1], vec![New, New, Late], 3, 0),
            (&[0, 2, 2, 1, 1], vec![New, New, Repeat, Late, Repeat], 3, 0),
            (&[0, 0], vec![New, Repeat], 1, 0),
            (&[3, 0], vec![New, Late], 4, 2),
            (&[0, 3], vec![New, New], 5, 3),
            (&[100, 36, 37], vec![New, Repeat, Late], 101, 99),
        ] {
            let (arrivals, order) = play(numbers);
            assert_eq!(arrivals, expected, "{numbers:?}");
            assert_eq!(order.lost(sent), lost, "{numbers:?}");
        }
    }

    proptest! {
        /// Against a plain set, as long as nothing comes later than the memory reaches.
        #[test]
        fn an_order_agrees_with_a_set(jumps in prop::collection::vec(0_u64..40, 1..200)) {
            let (mut order, mut seen, mut most) = (Order::default(), std::collections::BTreeSet::new(), 0_u64);
            for jump in jumps {
                let number = (most + 5).saturating_sub(jump);
                let expected = match (seen.insert(number), seen.last()) {
                    (false, _) => Repeat,
                    (true, last) if last == Some(&number) => New,
                    (true, _) => Late,
                };
                most = most.max(number);
                prop_assert_eq!(order.arrived(number), expected);
            }
            prop_assert_eq!(order.lost(most + 1), most + 1 - seen.len() as u64);
        }
    }
}
