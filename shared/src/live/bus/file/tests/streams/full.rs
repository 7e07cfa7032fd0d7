//! A full disk: what is not written has not happened, also for what was decided after it.

use super::*;
use crate::live::bus::Answer;

/// What is asked of the bus.
enum Request {
    Op(StreamOp),
    Publish(Publication),
}

impl Site {
    /// Has the writer do all of it in one round.
    fn ask_together(&mut self, requests: Vec<Request>) -> Vec<Result<(), BusError>> {
        let Simulated { bus, writer } = &mut self.at;
        let bus = &*bus;
        let answer = |request| -> Answer<'_, Result<(), BusError>> {
            match request {
                Request::Op(op) => Box::pin(async move { bus.change_stream(op).await.map(drop) }),
                Request::Publish(publication) => Box::pin(async move { bus.publish(publication).await.map(drop) }),
            }
        };
        let mut answers: Vec<_> = requests.into_iter().map(answer).collect();
        let mut context = Context::from_waker(Waker::noop());
        // Each of them is in the queue then.
        assert!(answers.iter_mut().all(|answer| answer.as_mut().poll(&mut context).is_pending()));
        writer.round(&bus.queue, Some(Duration::ZERO));
        let answered = |mut answer: Answer<'_, _>| match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("there is no answer"),
        };
        answers.into_iter().map(answered).collect()
    }

    fn fill(&mut self) {
        self.disk.faults(Faults { space: Some(40), ..Faults::default() });
    }
}

fn op(append: Append) -> Request {
    Request::Op(StreamOp::Append(append.into()))
}

fn closing(channel: &str) -> Request {
    op(Append { is_closing: true, ..append(channel, &[]) })
}

/// A client was answered that a stream is closed, that its epoch is old or that its key was used for something else, and none of that had been written.
#[test]
fn a_refusal_because_of_what_is_not_written_is_decided_again() {
    let is_full = |answer: &Result<(), BusError>| matches!(answer, Err(BusError::DiskFull(_)));
    let key = |text| Request::Publish(keyed(text));
    for requests in [
        vec![closing("s"), op(append("s", &["x"])), Request::Publish(publication("s", "x"))],
        vec![op(by(append("s", &["1"]), 5, 0)), op(by(append("s", &["2"]), 4, 0))],
        vec![Request::Publish(publication("c", "x")), Request::Op(StreamOp::Create(create("c").into()))],
        vec![key("1"), key("2")],
    ] {
        let mut site = Site::new(None);
        site.make(create("s"));
        site.fill();
        let answers = site.ask_together(requests);
        assert!(answers.iter().all(is_full), "{answers:?}");
    }
    // What is refused because of what was there before is a fact, and what was done before is done.
    let mut site = Site::new(None);
    site.make(create("s"));
    let tail = site.make(Create { is_closed: true, ..create("closed") }).tail;
    site.add(by(append("s", &["1"]), 3, 0));
    site.fill();
    let answers = site.ask_together(vec![
        op(append("s", &["x"])),
        op(append("closed", &["x"])),
        op(by(append("s", &["x"]), 2, 0)),
        op(by(append("s", &["1"]), 3, 0)),
    ]);
    assert!(is_full(&answers[0]), "{answers:?}");
    assert_eq!(answers[1], Err(StreamError::Closed { tail }.into()));
    assert_eq!(answers[2], Err(StreamError::StaleEpoch { current: 3 }.into()));
    site.disk.faults(Faults::default());
    site.at.check();
    assert_eq!(site.ask_together(vec![closing("s"), op(append("s", &["x"]))])[0], Ok(()));
    assert!(site.info("s").unwrap().end.is_some());
}

/// The second of two that create one fork waits for the first one, and kept its memory when that failed.
#[test]
fn a_fork_that_waits_for_what_is_not_written_frees_its_memory() {
    let mut site = Site::new(None);
    site.make(create("s"));
    site.add(append("s", &["x"]));
    let footprint = site.at.bus.log().counts().stream_footprint;
    site.fill();
    let both = (0..2).map(|_| Request::Op(StreamOp::Create(fork("f", "s", None).into()))).collect();
    let answers = site.ask_together(both);
    assert!(answers.iter().all(|answer| matches!(answer, Err(BusError::DiskFull(_)))), "{answers:?}");
    assert_eq!(site.at.bus.log().counts().stream_footprint, footprint);
}

#[test]
fn what_is_refused_for_the_disk_changes_nothing() {
    let mut site = Site::new(None);
    site.make(create("s"));
    site.add(by(append("s", &["1"]), 0, 0));
    let (before, footprint) = (site.all(), site.at.bus.log().counts().stream_footprint);
    site.disk.faults(Faults { space: Some(40), ..Faults::default() });
    for op in [
        StreamOp::Append(by(append("s", &["2"]), 0, 1).into()),
        StreamOp::Create(create("t").into()),
        StreamOp::Create(fork("f", "s", None).into()),
        StreamOp::Delete(name("s")),
    ] {
        assert!(matches!(site.ask(op), Err(BusError::DiskFull(_))));
    }
    assert_eq!((site.all(), site.texts("s").0), (before, vec!["1".to_owned()]));
    assert_eq!(site.at.bus.log().counts().stream_footprint, footprint, "nothing is reserved any more");
    site.disk.faults(Faults::default());
    site.at.check();
    site.restart();
    assert_eq!(site.at.bus.log().counts().stream_footprint, footprint);
    site.add(by(append("s", &["2"]), 0, 1));
}

/// An operation waited for ever for the end of a stream that could not be written.
#[test]
fn an_end_that_cannot_be_written_is_an_error() {
    let mut site = Site::new(None);
    site.make(Create { lifetime: Lifetime::Idle(1), ..create("s") });
    TIME.set(TIME.get() + 2_000);
    site.disk.faults(Faults { space: Some(40), ..Faults::default() });
    let refused = site.ask(StreamOp::Create(create("s").into()));
    assert!(matches!(refused, Err(BusError::DiskFull(_))), "{refused:?}");
    let published = site.at.publish(publication("s", "x"));
    assert!(matches!(published, Err(BusError::DiskFull(_))), "{published:?}");
    site.disk.faults(Faults::default());
    site.at.check();
    site.make(create("s"));
}
