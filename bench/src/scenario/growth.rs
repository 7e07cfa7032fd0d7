//! How Trident's costs grow: one thing grows at a time, everything else stays.

use std::time::Duration;

use super::{fanout, idle, publish};
use crate::{
    peer::Peer,
    publisher::Via,
    reader::{Fault, Transport},
    report::{self, Record, Run, Step},
    server::{Options, Server},
};

/// Connections, up to the number that a process with 20,000 descriptors can have.
const READERS: [usize; 6] = [100, 300, 1_000, 3_000, 10_000, 19_000];
const CHANNELS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
/// Messages a second to [`FEW`] readers.
const RATES: [usize; 6] = [10, 30, 100, 300, 1_000, 3_000];
const PAYLOADS: [usize; 6] = [34, 128, 512, 2_048, 8_192, 32_768];
const HISTORIES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const WORKERS: [u16; 2] = [1, 2];
/// Bytes of requests on one connection at a time.
const BACKLOG_BYTES: usize = 64 * 1024;
/// Readers where it is not they who grow.
const MANY: usize = 1000;
const FEW: usize = 100;

/// Where what is measured goes.
struct Series<'a, S> {
    start: &'a S,
    seconds: f64,
    most: usize,
    records: Vec<Record>,
}

impl<S: Fn(Options) -> Result<Server, Fault>> Series<'_, S> {
    fn keep(&mut self, name: &str, at: usize, run: Run) -> Result<(), Fault> {
        let record = Record { peer: Peer::Trident, series: Some(Step { name: name.to_owned(), at: at as u64 }), run };
        report::line(&record)?;
        self.records.push(record);
        Ok(())
    }

    fn fanout(&self, transport: Transport, readers: usize, window: usize) -> fanout::Plan {
        let duration = Duration::from_secs_f64(self.seconds);
        fanout::Plan {
            transport,
            readers,
            channels: 1,
            via: Via::Http,
            payload: 128,
            window,
            rate: None,
            warm_up: duration.div_f64(5.0),
            duration,
        }
    }

    fn publish(&self) -> publish::Plan {
        let duration = Duration::from_secs_f64(self.seconds);
        let warm_up = duration.div_f64(5.0);
        publish::Plan {
            connections: 64,
            channels: 1,
            idle_readers: 0,
            payload: 128,
            batch: 1,
            rate: None,
            warm_up,
            duration,
        }
    }

    fn readers(&mut self) -> Result<(), Fault> {
        let most = self.most;
        for readers in READERS.into_iter().filter(|readers| *readers <= most) {
            for transport in [Transport::Sse, Transport::Websocket] {
                let server = (self.start)(ONE)?;
                self.keep("memory", readers, Run::Idle(idle::run(&server, transport, readers)?))?;
                for window in [1, 32] {
                    let server = (self.start)(ONE)?;
                    let run = fanout::run(&server, self.fanout(transport, readers, window))?;
                    self.keep("readers", readers, Run::Fanout(run))?;
                }
            }
            let plan = publish::Plan { idle_readers: readers, ..self.publish() };
            self.keep("idle elsewhere", readers, Run::Publish(publish::run(&(self.start)(ONE)?, plan)?))?;
        }
        Ok(())
    }

    fn channels(&mut self) -> Result<(), Fault> {
        for channels in CHANNELS {
            let plan = publish::Plan { channels, ..self.publish() };
            self.keep("channels", channels, Run::Publish(publish::run(&(self.start)(ONE)?, plan)?))?;
        }
        Ok(())
    }

    fn messages(&mut self) -> Result<(), Fault> {
        for rate in RATES {
            let plan = fanout::Plan { rate: Some(rate as f64), ..self.fanout(Transport::Sse, FEW, 100_000) };
            self.keep("rate", rate, Run::Fanout(fanout::run(&(self.start)(ONE)?, plan)?))?;
        }
        for payload in PAYLOADS {
            // No more than a server reads ahead of what it answers: the publisher waits for no answer.
            for window in [1, 32].into_iter().filter(|window| *window == 1 || window * payload <= BACKLOG_BYTES) {
                let plan = fanout::Plan { payload, ..self.fanout(Transport::Sse, FEW, window) };
                self.keep("payload", payload, Run::Fanout(fanout::run(&(self.start)(ONE)?, plan)?))?;
            }
        }
        for history in HISTORIES {
            let options = Options { history: Some(history), ..ONE };
            let run = fanout::run(&(self.start)(options)?, self.fanout(Transport::Sse, MANY, 1))?;
            self.keep("history", history, Run::Fanout(run))?;
            let run = publish::run(&(self.start)(options)?, self.publish())?;
            self.keep("history", history, Run::Publish(run))?;
        }
        Ok(())
    }

    fn workers(&mut self) -> Result<(), Fault> {
        for workers in WORKERS {
            for window in [1, 32] {
                let server = (self.start)(Options { workers, ..ONE })?;
                let run = fanout::run(&server, self.fanout(Transport::Sse, MANY, window))?;
                self.keep("workers", usize::from(workers), Run::Fanout(run))?;
            }
            let server = (self.start)(Options { workers, ..ONE })?;
            self.keep("workers", usize::from(workers), Run::Publish(publish::run(&server, self.publish())?))?;
        }
        Ok(())
    }
}

const ONE: Options = Options { workers: 1, history: None };

/// Runs all series against servers that `start` starts, with `most` readers at most and `seconds` for each step.
///
/// # Errors
/// When a server cannot be started, or a run fails.
pub(crate) fn run(
    most: usize,
    seconds: f64,
    start: impl Fn(Options) -> Result<Server, Fault>,
) -> Result<Vec<Record>, Fault> {
    let mut series = Series { start: &start, seconds, most, records: Vec::new() };
    series.readers()?;
    series.channels()?;
    series.messages()?;
    series.workers()?;
    Ok(series.records)
}
