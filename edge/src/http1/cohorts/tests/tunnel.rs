//! Parked tunnels: clients that send something meanwhile.

use std::{cell::Cell, collections::VecDeque, convert::Infallible, task::Waker};

use actix_web::body::{BodySize, MessageBody};
use futures_util::StreamExt as _;

use super::*;
use crate::stream::{BATCH, ClientBytes, Live, Own, Parts, Sent};

/// What answers no keep-alive within its time. Everything else is repeated, except for the answers themselves.
const ANSWER: &[u8] = b".";

/// A body that repeats what its client sends, between its messages.
pub(super) struct Tunnel {
    reader: Reader,
    incoming: ClientBytes,
    state: State,
    times: StreamSchedule,
    opening: Option<Bytes>,
    has_ended: bool,
}

/// What others have sent to the client of the tunnels of this thread, if they are such that others send to: an empty letter ends parking.
#[derive(Default)]
struct Mail {
    letters: VecDeque<String>,
    waker: Option<Waker>,
}

/// What bodies of this thread do with messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// They send them.
    Sends,
    /// They leave them in the log.
    Leaves,
    /// They leave them in the log, and are parked, as if another thread had published them in between.
    LeavesAndParks,
}

thread_local! {
    static MAIL: RefCell<Option<Mail>> = const { RefCell::new(None) };
    /// How often a client took only a part.
    static SENT_PARTLY: Cell<u64> = const { Cell::new(0) };
    /// The log, and how many subscriptions it had when the state of a body was dropped.
    static WATCHED: RefCell<Option<(Arc<Log>, Vec<usize>)>> = const { RefCell::new(None) };
    static READING: Cell<Reading> = const { Cell::new(Reading::Sends) };
}

/// Sends letters to the only tunnel.
fn mail(letters: &[&str]) {
    let waker = MAIL.with_borrow_mut(|mail| {
        let mail = mail.get_or_insert_default();
        mail.letters.extend(letters.iter().map(|letter| (*letter).to_owned()));
        mail.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The next letter.
fn poll_mail(cx: &Context<'_>) -> Poll<String> {
    MAIL.with_borrow_mut(|mail| {
        let Some(mail) = mail else { return Poll::Pending };
        match mail.letters.pop_front() {
            Some(letter) => Poll::Ready(letter),
            None => {
                mail.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
}

/// What outlasts parking.
struct State {
    form: Lines,
    slot: Slot,
    every: Duration,
    unanswered: Option<Instant>,
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = WATCHED.try_with(|watched| {
            if let Some((log, seen)) = &mut *watched.borrow_mut() {
                seen.push(log.counts().subscriptions);
            }
        });
    }
}

impl Tunnel {
    pub(super) fn new(reader: Reader, form: Lines, slot: Slot, times: StreamSchedule, incoming: ClientBytes) -> Self {
        let opening = Some(form.opening(reader.place()));
        let state = State { form, slot, every: times.keep_alive, unanswered: None };
        Self { reader, incoming, state, times, opening, has_ended: false }
    }

    fn end(&mut self, last: &'static str) -> Bytes {
        self.has_ended = true;
        last.into()
    }

    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let now = Instant::now();
        if self.times.end.is_some_and(|end| end <= now) || self.state.slot.end().is_some() {
            return Poll::Ready(Some(self.end("C\n")));
        }
        if self.state.deadline().is_some_and(|deadline| deadline <= now) {
            return Poll::Ready(Some(self.end("L\n")));
        }
        match self.incoming.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(said))) => {
                self.state.receive(&said, now);
                return Poll::Ready(Some(format!("R{}\n", String::from_utf8_lossy(&said)).into()));
            }
            Poll::Ready(_) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        if let Poll::Ready(letter) = poll_mail(cx) {
            return Poll::Ready(Some(format!("A{letter}\n").into()));
        }
        if READING.get() != Reading::Sends {
            return Poll::Pending;
        }
        match self.reader.poll_read(cx, BATCH) {
            Poll::Ready(Some(batch)) => {
                self.state.slot.figures().deliveries.inc_by(batch.messages.len() as u64);
                Poll::Ready(Some(AnyForm::chunk(&self.state.form, &batch, true)))
            }
            Poll::Ready(None) => Poll::Ready(Some(self.end("C\n"))),
            Poll::Pending => self.state.slot.poll_end(cx).map(|_| Some(self.end("C\n"))),
        }
    }
}

impl MessageBody for Tunnel {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if let Some(opening) = this.opening.take() {
            return Poll::Ready(Some(Ok(opening)));
        }
        if this.has_ended { Poll::Ready(None) } else { this.poll_live(cx).map(|chunk| chunk.map(Ok)) }
    }
}

impl Live for Tunnel {
    fn can_park(&self) -> bool {
        READING.get() != Reading::Leaves && self.opening.is_none() && !self.has_ended && self.reader.can_join()
    }

    fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.state.slot.poll_end(cx).is_ready()
    }

    fn take_apart(self: Box<Self>) -> Parts {
        let Self { reader, state, times, .. } = *self;
        Parts { reader, form: Box::new(state.form), transport: state.slot.transport(), times, own: Box::new(state) }
    }
}

impl Own for State {
    fn resume(self: Box<Self>, reader: Reader, times: StreamSchedule, incoming: ClientBytes) -> Box<dyn Live> {
        Box::new(Tunnel { reader, incoming, state: *self, times, opening: None, has_ended: false })
    }

    fn is_ended(&self) -> bool {
        self.slot.end().is_some()
    }

    fn wait_for_end(&self, waker: &Waker) {
        let _ = self.slot.poll_end(&Context::from_waker(waker));
    }

    fn is_sent_to(&self) -> bool {
        MAIL.with_borrow(Option::is_some)
    }

    fn send(&mut self, place: Cursor, cx: &mut Context<'_>, out: &mut Vec<Bytes>) -> Sent {
        // Two at a time.
        for _ in 0..2 {
            match poll_mail(cx) {
                Poll::Ready(letter) if letter.is_empty() => return Sent::Ends,
                Poll::Ready(letter) => out.push(format!("P{letter} {place}\n").into()),
                Poll::Pending => return Sent::Waits,
            }
        }
        Sent::Continues
    }

    fn sent_partly(&mut self) {
        SENT_PARTLY.set(SENT_PARTLY.get() + 1);
    }

    fn sends_keep_alive(&mut self, now: Instant) {
        self.unanswered.get_or_insert(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.unanswered.map(|since| since + self.every)
    }

    fn receive(&mut self, bytes: &[u8], _: Instant) -> bool {
        let is_answer = bytes == ANSWER;
        if is_answer {
            self.unanswered = None;
        }
        is_answer
    }
}

impl Stage {
    /// As [`Stage::connect`], for a tunnel.
    pub(super) async fn connect_tunnel(&self, query: &str, receive_buffer: Option<usize>) -> Client {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        let request = format!("GET /tunnel?{query} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n");
        Client { is_plain: true, ..self.request(&request, receive_buffer).await }
    }

    /// A client whose tunnel is open.
    async fn open_tunnel(&self, query: &str) -> Client {
        let mut client = self.connect_tunnel(query, None).await;
        client.read_to("O").await;
        client
    }
}

impl Client {
    /// Sends something after its request.
    async fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }
}

#[actix_web::test]
async fn tunnels_share_a_cohort_and_leave_it_to_hear_their_client() {
    let stage = Stage::new(Retention::default()).await;
    let mut clients = [stage.open_tunnel("a").await, stage.open_tunnel("a").await];
    let mut stream = stage.open("a").await;
    stage.until("all to be parked", |stage| stage.parked() == (3, 2)).await;
    for n in 0..3 {
        clients[0].say(&format!("hello {n}")).await;
        clients[0].read_to(&format!("Rhello {n}\n")).await;
        stage.until("it to be parked again", |stage| stage.parked() == (3, 2)).await;
        stage.publish("a", &[&format!("message {n}")]);
        for client in clients.iter_mut().chain([&mut stream]) {
            client.read_to(&format!("\"message {n}\"\n")).await;
        }
    }
    assert!(!clients[1].body().0.contains('R') && !stream.body().0.contains('R'));
    assert_eq!((stage.edge.limits.connections(), stage.edge.drain.in_flight()), (3, 3));
    let [gone, mut last] = clients;
    drop(gone);
    stage.until("it to be gone", |stage| stage.parked() == (2, 2)).await;
    stage.log.close();
    assert!(last.read_to_end().await.ends_with("C\n"));
}

/// Otherwise a stream could expire between the end of the reader and that of the read, which counts as a use.
#[actix_web::test]
async fn what_a_member_has_is_dropped_while_its_channels_are_read() {
    let stage = Stage::new(Retention::default()).await;
    WATCHED.set(Some((stage.log.clone(), Vec::new())));
    let client = stage.open_tunnel("a").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    drop(client);
    stage.until("it to be gone", |stage| stage.parked() == (0, 0)).await;
    assert_eq!(WATCHED.take().map(|(_, seen)| seen), Some(vec![1]));
    assert_eq!(stage.log.counts().subscriptions, 0);
}

#[actix_web::test]
async fn a_tunnel_whose_client_does_not_answer_ends() {
    let stage = Stage::new(Retention::default()).await;
    let mut answering = stage.open_tunnel("a&beat=1000").await;
    let mut silent = stage.open_tunnel("a&beat=100").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 2)).await;
    let body = silent.read_to_end().await;
    assert!(body.ends_with("K\nL\n") && !body.contains("K\nK\n"), "{body}");
    for keep_alives in 1..=2 {
        answering.read_until(|body| body.matches("K\n").count() == keep_alives).await;
        answering.say(".").await;
    }
    stage.publish("a", &["one"]);
    // It is parked all the time, and its answers are read there.
    assert!(answering.read_to("one").await.ends_with("K\nK\n\"one\"\n"), "{}", answering.text());
}

/// How often a parked connection has left.
fn left(stage: &Stage) -> u64 {
    [Unparked::Ended, Unparked::Slow, Unparked::Received]
        .map(|reason| stage.edge.metrics.parking.unparked(reason).get())
        .iter()
        .sum()
}

#[actix_web::test]
async fn what_others_send_is_written_where_a_connection_is_parked() {
    let stage = Stage::new(Retention::default()).await;
    mail(&["early"]);
    let mut client = stage.open_tunnel("a").await;
    client.read_to("early").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    let before = left(&stage);
    for letters in [&["one"][..], &["two", "three", "four", "five", "six"]] {
        let message = format!("before {}", letters[0]);
        let place = stage.publish("a", &[&message]);
        client.read_to(&message).await;
        mail(letters);
        for letter in letters {
            client.read_to(&format!("P{letter} {}\n", place.last().unwrap())).await;
        }
    }
    assert_eq!((left(&stage), stage.parked()), (before, (1, 1)));
    // What ends this is done by the body, and so is what follows.
    mail(&["last", "", "alone"]);
    assert!(client.read_to("Aalone\n").await.contains("Plast"));
    stage.until("it to be parked again", |stage| stage.parked() == (1, 1)).await;
    assert_eq!(left(&stage), before + 1);
}

/// The place of a member in a cohort without keep-alives stayed where it was parked: what others sent had an offset that retention removed.
#[actix_web::test]
async fn what_others_send_has_the_end_of_the_log_as_its_place() {
    let stage = Stage::new(Retention::default()).await;
    mail(&[]);
    let mut client = stage.open_tunnel("a").await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    for letter in ["one", "two"] {
        let newest = stage.publish("b", &["for others"]);
        mail(&[letter]);
        client.read_to(&format!("P{letter} {}\n", newest.last().unwrap())).await;
    }
    stage.publish("a", &["message"]);
    client.read_to("message").await;
    assert_eq!(stage.parked(), (1, 1));
}

/// A message that another thread published between the last read of a body and its parking was passed over.
#[actix_web::test]
async fn who_is_parked_behind_the_others_misses_nothing() {
    let stage = Stage::new(Retention::default()).await;
    let mut first = stage.open_tunnel("a").await;
    let mut late = stage.open_tunnel("a").await;
    stage.until("both to be parked", |stage| stage.parked() == (2, 1)).await;
    READING.set(Reading::Leaves);
    late.say("x").await;
    late.read_to("Rx\n").await;
    stage.publish("a", &["one"]);
    first.read_to("one").await;
    READING.set(Reading::LeavesAndParks);
    late.say("y").await;
    late.read_to("Ry\n\"one\"\n").await;
    assert_eq!(stage.parked(), (2, 1));
    READING.set(Reading::Sends);
    stage.publish("a", &["two"]);
    for client in [&mut first, &mut late] {
        assert_eq!(client.read_to("two").await.matches("one").count(), 1);
    }
}

#[actix_web::test]
async fn a_client_that_takes_too_little_of_what_others_send_leaves_and_misses_nothing() {
    let stage = Stage::new(Retention::default()).await;
    mail(&[]);
    let mut client = stage.connect_tunnel("a", Some(32 * 1024)).await;
    stage.until("it to be parked", |stage| stage.parked() == (1, 1)).await;
    let long = "x".repeat(1 << 18);
    let sent: Vec<String> = (0..4).map(|n| format!("{n}{long}")).collect();
    mail(&sent.iter().map(String::as_str).collect::<Vec<_>>());
    let slow = |stage: &Stage| stage.edge.metrics.parking.unparked(Unparked::Slow).get();
    stage.until("it to leave", |stage| slow(stage) > 0).await;
    assert_eq!(SENT_PARTLY.get(), slow(&stage));
    stage.publish("a", &["message"]);
    mail(&["the end"]);
    let body = client.read_to("the end").await;
    let letters = body.lines().filter_map(|line| line.strip_prefix(['A', 'P']));
    let letters: Vec<&str> =
        letters.map(|letter| letter.split_once('x').map_or(letter, |(number, _)| number)).collect();
    assert_eq!(letters[..4], ["0", "1", "2", "3"]);
    assert!(letters.len() == 5 && letters[4].starts_with("the end"), "{letters:?}");
    assert!(client.read_to("message").await.contains("message"));
}
