//! The steps of a run, each with its weight.

use super::{CHANNELS, Process, World};
use crate::{disk::Faults, time};

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish,
    Repeat,
    Write,
    Beside,
    Client,
    Join,
    Leave,
    Older,
    Tick,
    Sweep,
    Purge,
    Die,
    Kill,
    CutPower,
    Stop,
    Fill,
    Free,
    Fail,
    Damage,
    Jump,
    Slow,
    Store,
}

impl World {
    fn choose(&mut self) -> Step {
        let config = &self.config;
        let crash = u64::from(config.crashes);
        let (fills, errors) = (u64::from(config.fills), u64::from(config.errors));
        let weights = [
            (Step::Publish, 30),
            (Step::Repeat, 4),
            (Step::Write, 24),
            (Step::Beside, 3),
            (Step::Client, 24),
            (Step::Join, 3),
            (Step::Leave, 4),
            (Step::Older, 6),
            (Step::Tick, 10),
            (Step::Sweep, 5),
            (Step::Purge, 3 * u64::from(config.purges)),
            (Step::Die, 4 * crash),
            (Step::Kill, 2 * crash),
            (Step::CutPower, 2 * crash),
            (Step::Stop, 1),
            (Step::Fill, 2 * fills),
            (Step::Free, 4 * fills.max(errors)),
            (Step::Fail, 2 * errors),
            (Step::Damage, u64::from(config.damage && self.damage.is_none())),
            (Step::Jump, 2 * u64::from(config.jumps && !config.damage)),
            (Step::Slow, 2 * u64::from(config.slow)),
            (Step::Store, 8 * u64::from(config.states)),
        ];
        let sum: u64 = weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.below(sum);
        for (step, weight) in weights {
            if left < weight {
                return step;
            }
            left -= weight;
        }
        Step::Write
    }

    /// One step.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        match self.choose() {
            Step::Publish => self.publish(),
            Step::Repeat => self.repeat(),
            Step::Write => self.write(),
            Step::Beside => self.work_beside(),
            Step::Client => self.client(),
            Step::Join => self.join(),
            Step::Leave => {
                self.leave();
                Ok(())
            }
            Step::Older => {
                self.read_older();
                Ok(())
            }
            Step::Tick => self.tick(),
            Step::Sweep => self.sweep(),
            Step::Purge => self.purge(),
            Step::Die => {
                let crash = Some(self.random.below(12));
                self.trace.line(format_args!("the process will die after {crash:?} changes"));
                self.disk.set_faults(Faults { crash, ..self.disk.faults() });
                Ok(())
            }
            Step::Kill => self.restart(false),
            Step::CutPower => self.restart(true),
            Step::Stop => self.stop(),
            Step::Fill => {
                let space = Some(self.random.below(7_000));
                self.trace.line(format_args!("{space:?} bytes are free"));
                self.disk.set_faults(Faults { space, ..self.disk.faults() });
                Ok(())
            }
            Step::Free => {
                self.trace.line(format_args!("the disk works and has space"));
                self.disk.set_faults(Faults { crash: self.disk.faults().crash, ..Faults::default() });
                self.sweep()
            }
            Step::Fail => {
                let sync = self.random.percent(40);
                // What a failed write left cannot be removed then.
                let write = !sync || self.random.percent(50);
                self.trace.line(format_args!("syncs fail: {sync}, writes fail: {write}"));
                self.disk.set_faults(Faults { sync, write, ..self.disk.faults() });
                Ok(())
            }
            Step::Damage => {
                self.damage = self.disk.damage();
                self.model.may_exaggerate |= self.damage.is_some();
                self.note_damage();
                Ok(())
            }
            Step::Jump => {
                self.jump();
                Ok(())
            }
            Step::Store => self.store_state(),
            Step::Slow => {
                self.is_slow = !self.is_slow;
                self.trace.line(format_args!("syncs take a long time: {}", self.is_slow));
                Ok(())
            }
        }
    }

    fn tick(&mut self) -> Result<(), String> {
        let ms = match self.random.below(20) {
            0..12 => self.random.below(40),
            // What waits for a sync that takes long has to happen before its end.
            12..19 => self.random.below(if self.is_slow { 600 } else { 2_500 }),
            // Long enough for purged messages to leave the disk.
            _ if self.config.purges => 50_000_000,
            _ => 100_000,
        };
        self.trace.line(format_args!("{ms} ms pass"));
        self.pass(ms)
    }

    /// What the process does each second.
    fn sweep(&mut self) -> Result<(), String> {
        self.trace.line(format_args!("sweep"));
        let bus = self.bus()?;
        while bus.sweep() {}
        if matches!(self.process, Some(Process::Memory(_))) {
            return (0..CHANNELS.len()).try_for_each(|channel| self.refresh(channel));
        }
        Ok(())
    }

    /// The time of day is set.
    fn jump(&mut self) {
        let by = self.random.below(40_000_000);
        let now = time::now().time_ms;
        let to = if self.random.percent(50) { now + by } else { now - by };
        self.trace.line(format_args!("the time of day is set from {now} to {to}"));
        time::set(to);
        // They expire by the time of day if the process is restarted.
        let is_waiting = |key: &u64| self.waiting.iter().any(|waiting| waiting.key == Some(*key));
        self.keyed.retain(|key, keyed| {
            keyed.is_vague = true;
            is_waiting(key)
        });
    }
}
