//! Parked requests: each is answered once, and its connection serves the next one.

mod model;

use std::{
    any::Any,
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
};

use futures_util::future::join_all;
use shared::live::reader::{Batch, Limit};
use tokio::{
    sync::Notify,
    time::{timeout, timeout_at},
};

use super::{super::table::MAX_COMPARED, *};
use crate::{
    metrics::Unparked,
    response::{AnswerForm, OwnAnswer, ResponseFuture, WaitingAnswer},
    routes::RequestParts,
};

/// A poll of the test: its answer is the messages, a line each, after a line with the cursor and whether there was a gap.
struct Poll {
    until: Instant,
    ended: Rc<Ending>,
}

/// Ends all polls.
#[derive(Default)]
pub(super) struct Ending {
    is_over: Cell<bool>,
    notify: Notify,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Answers;

/// More is not sent to many.
const MAX_SHARED: usize = 1_000;

fn text(batch: Option<&Batch>) -> HttpResponse {
    let Some(batch) = batch else { return HttpResponse::NoContent().finish() };
    let lines: String =
        batch.messages.iter().map(|message| format!("{}\n", message.draft.payload.plain_json())).collect();
    HttpResponse::Ok().body(format!("{} {}\n{lines}", batch.cursor, batch.gap.is_some()))
}

impl AnswerForm for Answers {
    fn limit(&self) -> Limit {
        Poll::LIMIT
    }

    fn answer(&self, batch: &Batch) -> Option<HttpResponse> {
        let bytes: usize = batch.messages.iter().map(|message| message.len()).sum();
        (bytes <= MAX_SHARED).then(|| text(Some(batch)))
    }

    fn is_same(&self, other: &dyn AnswerForm) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>() == Some(self)
    }
}

impl Poll {
    const LIMIT: Limit = Limit { messages: 3, bytes: usize::MAX };

    async fn wait(self: Box<Self>, mut reader: Reader, slot: Slot) -> HttpResponse<ResponseBody> {
        if self.ended.is_over.get() {
            return ResponseBody::boxed(HttpResponse::Forbidden().finish());
        }
        let ended = self.ended.notify.notified();
        let batch = tokio::select! {
            biased;
            () = ended => return ResponseBody::boxed(HttpResponse::Forbidden().finish()),
            batch = timeout_at(self.until, reader.next(Self::LIMIT)) => batch.ok().flatten(),
        };
        slot.figures().deliveries.inc_by(batch.as_ref().map_or(0, |batch| batch.messages.len() as u64));
        ResponseBody::boxed(text(batch.as_ref()))
    }
}

impl OwnAnswer for Poll {
    fn resume(self: Box<Self>, reader: Reader, slot: Slot) -> ResponseFuture {
        Box::pin(self.wait(reader, slot))
    }

    fn is_ended(&self) -> bool {
        self.ended.is_over.get()
    }

    fn wait_for_end(&self, waker: &Waker) {
        self.ended.waker.replace(Some(waker.clone()));
    }
}

impl Ending {
    fn end(&self) {
        self.is_over.set(true);
        self.notify.notify_waiters();
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// The answer to `GET /poll`: channels, `since`, and `wait` in milliseconds.
pub(super) fn respond(log: &Arc<Log>, limits: &Limits, parts: &RequestParts<'_>, ended: &Rc<Ending>) -> ResponseFuture {
    let (query, park_after) = (parts.query, parts.park_after);
    let (mut channels, mut since, mut wait) = (Vec::new(), Since::Now, 3_600_000);
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("since", cursor)) => since = cursor.parse().unwrap(),
            Some(("wait", ms)) => wait = ms.parse().unwrap(),
            _ => channels.push(channel(part)),
        }
    }
    let mut reader = Reader::open(log, &channels, since);
    let is_closed = log.is_closed();
    let slot = limits.connect([127, 0, 0, 1].into(), Transport::LongPoll).unwrap();
    let until = Instant::now() + Duration::from_millis(wait);
    let own = Box::new(Poll { until, ended: ended.clone() });
    Box::pin(async move {
        let mut found = reader.read(Poll::LIMIT);
        if found.is_none()
            && let Some(time) = park_after.filter(|time| !time.is_zero())
        {
            found = timeout(time, reader.next(Poll::LIMIT)).await.ok().flatten();
        }
        match found {
            None if park_after.is_some() && reader.can_join() && !is_closed => {
                let form = Box::new(Answers);
                ResponseBody::waiting(WaitingAnswer { reader, form, slot, until, own })
            }
            None => own.wait(reader, slot).await,
            found => {
                slot.figures().deliveries.inc_by(found.as_ref().map_or(0, |batch| batch.messages.len() as u64));
                ResponseBody::boxed(text(found.as_ref()))
            }
        }
    })
}

/// A client that polls, one request after the other on one connection.
struct Poller {
    client: Client,
    /// Bytes of earlier answers.
    taken: usize,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Poller {
    async fn connect(stage: &Stage) -> Self {
        Self { client: stage.request("", None).await, taken: 0 }
    }

    async fn ask(&mut self, query: &str, fields: &str) {
        let request = format!("GET /poll?{query} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        self.client.socket.write_all(request.as_bytes()).await.unwrap();
    }

    /// The answer, if all of it has arrived.
    fn arrived(&mut self) -> Option<Answer> {
        let text = String::from_utf8(self.client.text[self.taken..].to_vec()).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = rest.get(..length.map_or(0, |length| length.parse().unwrap()))?;
        self.taken += head.len() + 4 + body.len();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    async fn answer(&mut self) -> Answer {
        let read = async {
            loop {
                if let Some(answer) = self.arrived() {
                    return answer;
                }
                let read = self.client.socket.read_buf(&mut self.client.text).await.unwrap();
                assert_ne!(read, 0, "{}", self.client.text());
            }
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no answer"))
    }
}

#[actix_web::test]
async fn waiting_polls_share_one_answer_and_go_on() {
    const COUNT: usize = 100;
    let stage = Stage::new(Retention::default()).await;
    let mut pollers = Vec::new();
    for n in 0..COUNT {
        let mut poller = Poller::connect(&stage).await;
        let fields = match n {
            0 => "Origin: http://localhost:3000\r\n",
            1 => "Connection: close\r\n",
            _ => "",
        };
        poller.ask("a", fields).await;
        pollers.push(poller);
    }
    stage.until("all to be parked", |stage| stage.parked() == (COUNT, 3)).await;
    assert_eq!((stage.edge.limits.connections(), stage.edge.drain.in_flight()), (COUNT, COUNT));
    let id = stage.publish("a", &["one"])[0];
    let expected = format!("{id} false\n\"one\"\n");
    for (n, poller) in pollers.iter_mut().enumerate() {
        let answer = poller.answer().await;
        assert_eq!((answer.status, &answer.body), (200, &expected), "{n}");
        assert_eq!(
            answer.head.contains("access-control-allow-origin: http://localhost:3000"),
            n == 0,
            "{}",
            answer.head
        );
        assert_eq!(answer.head.contains("connection: close"), n == 1, "{}", answer.head);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    }
    stage.until("all to be answered", |stage| stage.edge.limits.connections() == 0).await;
    let figures = stage.edge.metrics.transport(Transport::LongPoll);
    assert_eq!((figures.deliveries.get(), stage.edge.drain.in_flight()), (COUNT as u64, 0));
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Answered).get(), COUNT as u64);
    let closing = pollers.remove(1);
    assert_eq!(closing.client.text.len(), closing.taken);
    // The next request of each, on the same connection; one sends it before it is answered.
    for poller in &mut pollers {
        poller.ask(&format!("a&since={id}"), "").await;
    }
    stage.until("all to be parked", |stage| stage.parked() == (COUNT - 1, 1)).await;
    pollers[0].ask(&format!("a&since={START}-0"), "").await;
    stage.until("one to wait alone", |stage| stage.parked() == (COUNT - 2, 1)).await;
    stage.publish("a", &["two"]);
    for poller in &mut pollers {
        assert!(poller.answer().await.body.ends_with(" false\n\"two\"\n"));
    }
    assert!(pollers[0].answer().await.body.ends_with("\"one\"\n\"two\"\n"));
    let (host, rest) = (pollers.remove(0), pollers);
    drop((host.client.socket, rest));
    timeout(PATIENCE, host.client.served).await.unwrap().unwrap();
}

#[actix_web::test]
async fn a_parked_poll_ends_at_its_time_from_outside_and_with_the_log() {
    let stage = Stage::new(Retention::default()).await;
    let mut poller = Poller::connect(&stage).await;
    poller.ask("a&wait=30", "").await;
    assert_eq!(poller.answer().await.status, 204);
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Ended).get(), 1);
    poller.ask("a", "").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    // A message that is too long for many, and a gap, are answered alone.
    stage.publish("a", &[&"x".repeat(2 * MAX_SHARED)]);
    assert!(poller.answer().await.body.len() > 2 * MAX_SHARED);
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Behind).get(), 1);
    poller.ask("a", "").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    stage.ending.end();
    assert_eq!(poller.answer().await.status, 403);
    stage.ending.is_over.set(false);
    poller.ask("a", "").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    // It has gone meanwhile.
    let mut gone = Poller::connect(&stage).await;
    gone.ask("a", "").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 1)).await;
    drop(gone);
    stage.until("one to be gone", |stage| stage.parked() == (1, 1)).await;
    stage.publish("a", &["last"]);
    stage.log.close();
    assert!(poller.answer().await.body.ends_with("\"last\"\n"));
    poller.ask("a", "").await;
    assert_eq!(poller.answer().await.status, 204);
    assert_eq!((stage.edge.limits.connections(), stage.edge.drain.in_flight()), (0, 0));
}

#[actix_web::test]
async fn after_a_brief_wait_the_next_poll_waits_by_itself() {
    let times = ConnectionTimeouts { brief: Duration::from_secs(3_600), ..TIMES };
    let stage = Stage::of(Stage::log(Retention::default()), times).await;
    let mut poller = Poller::connect(&stage).await;
    poller.ask("a", "").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    for (n, text) in ["one", "two", "three"].into_iter().enumerate() {
        stage.publish("a", &[text]);
        assert!(poller.answer().await.body.ends_with(&format!(" false\n\"{text}\"\n")));
        stage.until("it to be answered", |stage| stage.edge.limits.connections() == 0).await;
        poller.ask("a", "").await;
        stage.until("it to wait", |stage| stage.log.counts().subscriptions == 1).await;
        let answered = stage.edge.metrics.parking.unparked(Unparked::Answered).get();
        assert_eq!((stage.parked(), answered), ((0, 0), 1), "{n}");
    }
}

/// So does one that was parked, and answered alone.
#[actix_web::test]
async fn after_a_brief_wait_for_a_long_message_the_next_poll_waits_by_itself() {
    let times = ConnectionTimeouts { brief: Duration::from_secs(3_600), ..TIMES };
    let stage = Stage::of(Stage::log(Retention::default()), times).await;
    let mut poller = Poller::connect(&stage).await;
    poller.ask("a", "").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    stage.publish("a", &[&"x".repeat(2 * MAX_SHARED)]);
    assert_eq!(poller.answer().await.status, 200);
    stage.until("it to be answered", |stage| stage.edge.limits.connections() == 0).await;
    poller.ask("a", "").await;
    stage.until("it to wait", |stage| stage.log.counts().subscriptions == 1).await;
    assert_eq!((stage.parked(), stage.edge.metrics.parking.unparked(Unparked::Behind).get()), ((0, 0), 1));
}

#[actix_web::test]
async fn a_poll_waits_by_itself_no_longer_than_a_brief_wait() {
    let times = ConnectionTimeouts { brief: Duration::from_millis(300), ..TIMES };
    let stage = Stage::of(Stage::log(Retention::default()), times).await;
    let mut poller = Poller::connect(&stage).await;
    for text in ["one", "two"] {
        poller.ask("a", "").await;
        stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
        stage.publish("a", &[text]);
        assert!(poller.answer().await.body.ends_with(&format!(" false\n\"{text}\"\n")));
    }
}

/// Clients choose what makes their cohorts differ: there may be as many cohorts as clients, but few are compared with a new one.
#[actix_web::test]
async fn few_cohorts_are_compared_with_a_new_poll() {
    let stage = Stage::new(Retention::default()).await;
    let mut pollers = Vec::new();
    for (n, cohorts) in
        (0..=MAX_COMPARED).map(|n| (n, n + 1)).chain([(MAX_COMPARED, MAX_COMPARED + 1), (0, MAX_COMPARED + 2)])
    {
        let mut poller = Poller::connect(&stage).await;
        poller.ask("a", &format!("Origin: http://localhost:{n}\r\n")).await;
        pollers.push((n, poller));
        let expected = (pollers.len(), cohorts);
        stage.until("it to be parked", |stage| stage.parked() == expected).await;
    }
    stage.publish("a", &["one"]);
    for (n, poller) in &mut pollers {
        let answer = poller.answer().await;
        assert!(answer.head.contains(&format!("access-control-allow-origin: http://localhost:{n}\r\n")), "{n}");
        assert!(answer.body.ends_with(" false\n\"one\"\n"));
    }
    assert_eq!(stage.edge.metrics.parking.unparked(Unparked::Answered).get(), pollers.len() as u64);
}

/// Another thread publishes as soon as one client has the previous message, while the others are answered, ask again, and are parked.
#[actix_web::test]
async fn nothing_is_missed_while_a_poll_is_parked() {
    const MESSAGES: usize = 200;
    let stage = Stage::new(Retention::default()).await;
    let (log, got) = (stage.log.clone(), Arc::<AtomicUsize>::default());
    let of = got.clone();
    let publisher = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            while of.load(Ordering::Acquire) < n {
                std::thread::yield_now();
            }
            let draft = Draft::new(channel("a"), Payload::from_text(&n.to_string()));
            log.append(vec![draft], START + 1);
        }
    });
    let mut polling = Vec::new();
    for n in 0..8 {
        let (mut poller, got) = (Poller::connect(&stage).await, got.clone());
        polling.push(async move {
            let (mut at, mut numbers) = (format!("{START}-0"), Vec::new());
            while numbers.len() < MESSAGES {
                poller.ask(&format!("a&since={at}"), "").await;
                let answer = poller.answer().await;
                let (first, lines) = answer.body.split_once('\n').unwrap();
                at = first.strip_suffix(" false").unwrap().to_owned();
                numbers.extend(lines.lines().map(|line| line.trim_matches('"').parse::<usize>().unwrap()));
                if n == 0 {
                    got.store(numbers.len(), Ordering::Release);
                }
            }
            numbers
        });
    }
    for numbers in join_all(polling).await {
        assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
    }
    publisher.join().unwrap();
}
