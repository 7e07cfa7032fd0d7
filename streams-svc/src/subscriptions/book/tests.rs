use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
};

use edge::{Settings, settings::ServiceDefaults};
use outgoing::Guard;
use serde_json::{Value, json};

use super::*;
use crate::{
    offset::Offset,
    subscriptions::{ack::Ack, command::Act, request::Config},
};

/// Streams with the position of their last message; all begin at 0. The second is how often somebody asked for one.
#[derive(Default)]
struct Tails(RefCell<BTreeMap<ChannelName, u64>>, Cell<usize>);

impl Tails {
    fn set(&self, stream: &str, tail: u64) {
        self.0.borrow_mut().insert(name(stream), tail);
    }
}

impl Streams for Tails {
    fn ends(&self, channel: &ChannelName) -> Option<(Cursor, Cursor)> {
        self.1.set(self.1.get() + 1);
        self.0.borrow().get(channel).map(|tail| (Cursor::ZERO, Cursor::new(*tail, 0)))
    }
}

fn name(text: &str) -> ChannelName {
    text.parse().unwrap()
}

fn settings(env: &[(&str, &str)]) -> StreamSettings {
    let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
    Settings::from_sources(&service, [], env.iter().copied()).unwrap().streams
}

fn book(env: &[(&str, &str)]) -> Book {
    Book::new(Arc::new(ServerKey::generate()), settings(env), BTreeMap::new(), usize::MAX)
}

fn caller(owner: &str) -> Caller {
    Caller { owner: owner.to_owned(), has_all: false }
}

fn config(json: &Value) -> Config {
    let guard = Guard::new(|address: IpAddr| address.is_loopback());
    Config::read(json.to_string().as_bytes(), &guard).unwrap()
}

fn webhook(pattern: &str) -> Value {
    json!({ "type": "webhook", "pattern": pattern, "lease_ttl_ms": 1_000, "webhook": { "url": "http://127.0.0.1:1/" } })
}

fn pull(pattern: &str) -> Value {
    json!({ "type": "pull-wake", "pattern": pattern, "lease_ttl_ms": 1_000, "wake_stream": "wake" })
}

fn put(id: &str, owner: &str, json: &Value) -> Command {
    let scope = Scope::Of("*".parse().unwrap());
    Command::Put {
        id: id.to_owned(),
        caller: caller(owner),
        config: config(json),
        scope,
        base: "http://x/streams".to_owned(),
    }
}

/// The status and the code of an error, or nothing.
fn code(reply: &Reply) -> (u16, String) {
    let code = reply.body.as_ref().and_then(|body| body["error"]["code"].as_str());
    (reply.status, code.unwrap_or_default().to_owned())
}

fn run(book: &mut Book, command: Command, tails: &Tails, now_ms: u64) -> Reply {
    let existing: Vec<_> = tails.0.borrow().keys().cloned().collect();
    let reply = book.execute(command, &existing, tails, now_ms);
    book.advance(tails, now_ms);
    reply
}

/// The streams got messages.
fn append(book: &mut Book, tails: &Tails, streams: &[(&str, u64)], now_ms: u64) {
    streams.iter().for_each(|(stream, tail)| tails.set(stream, *tail));
    book.appended(&streams.iter().map(|(stream, _)| name(stream)).collect::<Vec<_>>(), tails);
    book.advance(tails, now_ms);
}

fn due(book: &mut Book, tails: &Tails, now_ms: u64) -> Vec<Job> {
    book.advance(tails, now_ms);
    book.due(tails, now_ms)
}

fn get(book: &mut Book, tails: &Tails, id: &str) -> Value {
    book.execute(Command::Get { id: id.to_owned(), caller: caller("ann") }, &[], tails, 0).body.unwrap()
}

fn body(job: &Job) -> Value {
    serde_json::from_slice(&job.body).unwrap()
}

fn ack(body: &Value, acks: &[(&str, u64)], is_done: bool, act: Act) -> Command {
    let acks = acks.iter().map(|(stream, at)| Some((name(stream), Cursor::new(*at, 0)))).collect();
    let token = body["callback_token"].as_str().or(body["token"].as_str()).unwrap().to_owned();
    let wake_id = body["wake_id"].as_str().unwrap().to_owned();
    let ack = Ack { wake_id, generation: body["generation"].as_u64().unwrap(), acks, done: is_done };
    Command::Worker { id: "s".to_owned(), token, ack, act }
}

fn claim(worker: &str) -> Command {
    Command::Claim { id: "s".to_owned(), caller: caller("ann"), worker: worker.to_owned() }
}

#[test]
fn what_is_there_is_not_replayed_and_what_follows_wakes_once_at_a_time() {
    let (mut book, tails) = (book(&[]), Tails::default());
    tails.set("a/old", 5);
    assert_eq!(run(&mut book, put("s", "ann", &webhook("a/*")), &tails, 0).status, 201);
    assert!(due(&mut book, &tails, 0).is_empty());
    append(&mut book, &tails, &[("a/new", 6), ("b/other", 7)], 10);
    let jobs = due(&mut book, &tails, 10);
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    let first = body(job);
    assert_eq!((&first["subscription_id"], &first["generation"]), (&json!("s"), &json!(1)));
    assert_eq!(first["callback_url"], "http://x/streams/__ds/subscriptions/s/callback");
    let offset = |at: u64| Offset(Cursor::new(at, 0)).to_string();
    let stream = |path: &str, acked: &str, tail: u64, has_pending: bool| json!({ "path": path, "link_type": "glob", "acked_offset": acked, "tail_offset": offset(tail), "has_pending": has_pending });
    assert_eq!(first["streams"], json!([stream("a/new", "-1", 6, true), stream("a/old", &offset(5), 5, false)]));
    // More arrives while it is being sent: another wake, and not before this one is over.
    append(&mut book, &tails, &[("a/old", 8)], 20);
    assert!(due(&mut book, &tails, 20).is_empty());
    book.sent(jobs.into_iter().next().unwrap(), Outcome::Delivered(true), 30);
    let again = due(&mut book, &tails, 30);
    let second = body(&again[0]);
    assert_eq!(second["generation"], 2);
    assert_ne!(second["wake_id"], first["wake_id"]);
    assert_eq!(second["streams"], json!([stream("a/new", &offset(6), 6, false), stream("a/old", &offset(5), 8, true)]));
}

#[test]
fn a_callback_acknowledges_and_stale_ones_change_nothing() {
    let (mut book, tails) = (book(&[]), Tails::default());
    run(&mut book, put("s", "ann", &webhook("a/*")), &tails, 0);
    append(&mut book, &tails, &[("a/1", 6), ("a/2", 7)], 0);
    let job = due(&mut book, &tails, 0).remove(0);
    let wake = body(&job);
    // The worker calls back before it answers.
    let step = run(&mut book, ack(&wake, &[("a/1", 6)], false, Act::Callback), &tails, 10);
    assert_eq!(step.body, Some(json!({ "ok": true, "next_wake": false })));
    book.sent(job, Outcome::Failed, 20);
    assert!(due(&mut book, &tails, 900).is_empty(), "its worker has it");
    for (acks, why) in [([("a/1", 5)], "before"), ([("a/2", 8)], "beyond"), ([("a/3", 1)], "not one of")] {
        let reply = run(&mut book, ack(&wake, &acks, true, Act::Callback), &tails, 30);
        assert_eq!(code(&reply), (409, "INVALID_OFFSET".to_owned()), "{why}");
    }
    assert_eq!(code(&run(&mut book, ack(&wake, &[], true, Act::Ack), &tails, 30)).0, 400, "it is no pull-wake");
    let done = run(&mut book, ack(&wake, &[], true, Act::Callback), &tails, 40);
    assert_eq!(done.body, Some(json!({ "ok": true, "next_wake": true })), "a/2 is not acknowledged");
    for is_done in [true, false] {
        let stale = run(&mut book, ack(&wake, &[("a/2", 7)], is_done, Act::Callback), &tails, 50);
        assert_eq!(code(&stale), (409, "FENCED".to_owned()));
    }
    let mut forged = wake.clone();
    forged["callback_token"] = json!("2.AAAA");
    assert_eq!(
        code(&run(&mut book, ack(&forged, &[], true, Act::Callback), &tails, 50)),
        (401, "TOKEN_INVALID".to_owned())
    );
    // Another subscription of the name, in the same generation.
    run(&mut book, Command::Delete { id: "s".to_owned(), caller: caller("ann") }, &tails, 60);
    assert_eq!(code(&run(&mut book, ack(&wake, &[], true, Act::Callback), &tails, 60)).0, 404);
    run(&mut book, put("s", "ann", &webhook("a/*")), &tails, 60);
    append(&mut book, &tails, &[("a/1", 9)], 60);
    assert_eq!(
        code(&run(&mut book, ack(&wake, &[], true, Act::Callback), &tails, 60)),
        (401, "TOKEN_INVALID".to_owned())
    );
}

#[test]
fn failures_are_repeated_with_growing_pauses_and_leases_end() {
    let (mut book, tails, mut now) = (book(&[]), Tails::default(), 0);
    run(&mut book, put("s", "ann", &webhook("a")), &tails, 0);
    append(&mut book, &tails, &[("a", 6)], 0);
    let first = due(&mut book, &tails, 0).remove(0);
    let wake = body(&first);
    book.sent(first, Outcome::Failed, 0);
    assert_eq!(get(&mut book, &tails, "s")["status"], "failed");
    for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        let at = book.deadline(now).unwrap() - now;
        assert!((pause * 4 / 5..=pause * 6 / 5).contains(&at), "{at} for {pause}");
        assert!(due(&mut book, &tails, now + at - 1).is_empty());
        now += at;
        let job = due(&mut book, &tails, now).remove(0);
        assert_eq!(body(&job)["wake_id"], wake["wake_id"]);
        book.sent(job, Outcome::Failed, now);
    }
    now = book.deadline(now).unwrap();
    let job = due(&mut book, &tails, now).remove(0);
    book.sent(job, Outcome::Delivered(false), now);
    assert_eq!(get(&mut book, &tails, "s")["status"], "active");
    assert_eq!(book.deadline(now), Some(now + 1_000));
    assert!(due(&mut book, &tails, now + 999).is_empty());
    let next = due(&mut book, &tails, now + 1_000);
    assert_eq!(body(&next[0])["generation"], 2, "its worker gave no sign of life");
}

/// Wakes and leases that were planned by the earlier time would otherwise wait for as long as the clock was set back.
#[test]
fn nothing_waits_longer_after_the_clock_was_set_back() {
    let hour = 3_600_000;
    let (mut book, tails, mut now) = (book(&[]), Tails::default(), 5 * hour);
    run(&mut book, put("s", "ann", &webhook("a")), &tails, now);
    append(&mut book, &tails, &[("a", 6)], now);
    // A wake that has not been sent yet.
    now -= hour;
    let first = due(&mut book, &tails, now).pop().expect("due at once");
    // The pause after a failure.
    book.sent(first, Outcome::Failed, now);
    now -= hour;
    assert!(due(&mut book, &tails, now).is_empty());
    let pause = book.deadline(now).unwrap() - now;
    assert!((800..=1_200).contains(&pause), "{pause}");
    now += pause;
    let second = due(&mut book, &tails, now).pop().unwrap();
    // The lease of a receiver that gives no sign of life.
    book.sent(second, Outcome::Delivered(false), now);
    now -= hour;
    assert!(due(&mut book, &tails, now).is_empty());
    assert_eq!(book.deadline(now), Some(now + 1_000));
    let third = due(&mut book, &tails, now + 1_000);
    assert_eq!(body(&third[0])["generation"], 2);
}

#[test]
fn one_worker_claims_a_wake_and_others_are_fenced() {
    let (mut book, tails) = (book(&[]), Tails::default());
    tails.set("wake", 1);
    run(&mut book, put("s", "ann", &pull("**")), &tails, 0);
    assert_eq!(code(&run(&mut book, claim("w1"), &tails, 0)), (409, "NO_PENDING_WORK".to_owned()));
    append(&mut book, &tails, &[("a", 6)], 0);
    let job = due(&mut book, &tails, 0).remove(0);
    assert!(matches!(&job.sending, Sending::Event(stream) if *stream == name("wake")));
    let event = json!({ "type": "wake", "subscription_id": "s", "stream": "a", "generation": 1, "ts": 0 });
    assert_eq!(body(&job), event);
    book.sent(job, Outcome::Delivered(false), 0);
    // What it announces in its own wake stream is nothing to do.
    append(&mut book, &tails, &[("wake", 7)], 1);
    let claimed = run(&mut book, claim("w1"), &tails, 10).body.unwrap();
    assert_eq!((&claimed["generation"], &claimed["lease_ttl_ms"]), (&json!(1), &json!(1_000)));
    let busy = run(&mut book, claim("w2"), &tails, 20);
    assert_eq!(code(&busy), (409, "ALREADY_CLAIMED".to_owned()));
    assert_eq!(busy.body.unwrap()["error"]["current_holder"], "w1");
    // A sign of life.
    run(&mut book, ack(&claimed, &[], false, Act::Ack), &tails, 900);
    assert_eq!(code(&run(&mut book, claim("w2"), &tails, 1_800)).1, "ALREADY_CLAIMED");
    // None: another worker gets it, and the first one changes nothing any more.
    book.advance(&tails, 1_900);
    let other = run(&mut book, claim("w2"), &tails, 1_900).body.unwrap();
    assert_eq!(other["generation"], 2);
    assert_eq!(code(&run(&mut book, ack(&claimed, &[("a", 6)], true, Act::Ack), &tails, 1_900)).1, "FENCED");
    assert_eq!(run(&mut book, ack(&other, &[], false, Act::Release), &tails, 2_000).status, 204);
    let announced = due(&mut book, &tails, 2_000);
    assert_eq!(body(&announced[0])["generation"], 3, "there is still something to do");
    assert_eq!(code(&run(&mut book, ack(&other, &[("a", 6)], true, Act::Ack), &tails, 2_000)).1, "FENCED");
}

#[test]
fn streams_are_added_and_removed() {
    let (mut book, tails) = (book(&[]), Tails::default());
    tails.set("a/1", 5);
    let json =
        json!({ "type": "webhook", "pattern": "a/*", "streams": ["b"], "webhook": { "url": "https://x.example/" } });
    run(&mut book, put("s", "ann", &json), &tails, 0);
    let link = |names: &[&str]| {
        let streams = names.iter().map(|one| name(one)).collect();
        Command::Link { id: "s".to_owned(), caller: caller("ann"), streams }
    };
    let unlink = |stream: &str| Command::Unlink { id: "s".to_owned(), caller: caller("ann"), stream: name(stream) };
    let links = |book: &mut Book| {
        let described = get(book, &tails, "s");
        let of = |link: &Value| format!("{} {}", link["path"].as_str().unwrap(), link["link_type"].as_str().unwrap());
        described["streams"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(links(&mut book), ["a/1 glob", "b explicit"]);
    for _ in 0..2 {
        assert_eq!(run(&mut book, link(&["a/1", "c"]), &tails, 0).status, 204);
        assert_eq!(links(&mut book), ["a/1 explicit", "b explicit", "c explicit"]);
    }
    for stream in ["a/1", "c", "none"] {
        assert_eq!(run(&mut book, unlink(stream), &tails, 0).status, 204);
    }
    assert_eq!(links(&mut book), ["a/1 glob", "b explicit"]);
    // A stream that was deleted is forgotten, unless it was named.
    tails.0.borrow_mut().clear();
    assert_eq!(links(&mut book), ["b explicit"]);
    // One that is created later is new from its beginning.
    append(&mut book, &tails, &[("b", 9)], 0);
    assert_eq!(due(&mut book, &tails, 0).len(), 1);
}

#[test]
fn the_same_configuration_is_found_and_another_is_a_conflict() {
    let (mut book, tails) = (book(&[]), Tails::default());
    let mut of = |owner: &str, json: &Value| code(&run(&mut book, put("s", owner, json), &tails, 0)).0;
    let (one, other) = (webhook("a/*"), webhook("b/*"));
    assert_eq!([of("ann", &one), of("ann", &one), of("ann", &other), of("bob", &one)], [201, 200, 409, 409]);
    let as_bob = |command: fn(String, Caller) -> Command| command("s".to_owned(), caller("bob"));
    let get = |id, caller| Command::Get { id, caller };
    assert_eq!(run(&mut book, as_bob(get), &tails, 0).status, 404);
    let delete = |id, caller| Command::Delete { id, caller };
    assert_eq!(run(&mut book, as_bob(delete), &tails, 0).status, 204);
    assert!(book.has("s"), "it is not bob's");
}

#[test]
fn subscriptions_and_their_streams_are_bounded() {
    let env = [("TRIDENT_STREAM_SUBSCRIPTIONS", "3"), ("TRIDENT_STREAM_SUBSCRIPTIONS_PER_CLIENT", "2")];
    let (mut book, tails) = (book(&env), Tails::default());
    let mut of = |id: &str, owner: &str| code(&run(&mut book, put(id, owner, &webhook("a/*")), &tails, 0)).0;
    assert_eq!(
        [of("1", "ann"), of("2", "ann"), of("3", "ann"), of("3", "bob"), of("4", "eve")],
        [201, 201, 429, 201, 429]
    );
    for n in 0..MAX_LINKS as u64 + 5 {
        append(&mut book, &tails, &[(&format!("a/{n}"), n + 1)], 0);
    }
    let [_, links, bytes] = book.figures();
    assert_eq!((links, book.unlinked), (3 * MAX_LINKS, 3 * 5));
    assert!(bytes <= MAX_BYTES, "{bytes}");
    // A stream that was deleted makes space.
    tails.0.borrow_mut().remove(&name("a/0"));
    append(&mut book, &tails, &[("a/new", 9_999)], 0);
    assert_eq!((book.figures()[1], book.unlinked), (3 * MAX_LINKS, 3 * 5));
    // However many find no space, those that are gone are looked for once.
    let (names, before) = ((0..50).map(|n| format!("a/more-{n}")).collect::<Vec<_>>(), tails.1.get());
    append(&mut book, &tails, &names.iter().map(|name| (&**name, 10_000)).collect::<Vec<_>>(), 0);
    assert_eq!(book.unlinked, 3 * 5 + 3 * 50);
    assert!(tails.1.get() - before < 3 * 3 * MAX_LINKS, "{} questions", tails.1.get() - before);
}

#[test]
fn the_streams_of_one_client_leave_space_for_others() {
    let (mut book, tails) = (book(&[]), Tails::default());
    let streams = |from: u64| (from..from + MAX_LINKS as u64).map(|n| format!("x/{n}")).collect::<Vec<_>>();
    let json =
        |from| json!({ "type": "webhook", "streams": streams(from), "webhook": { "url": "https://x.example/" } });
    let mut of = |id: &str, owner: &str| code(&run(&mut book, put(id, owner, &json(0)), &tails, 0));
    let created = (0..10).take_while(|n| of(&format!("a{n}"), "ann").0 == 201).count();
    assert!((1..10).contains(&created), "{created}");
    assert_eq!(of("b", "bob").0, 201);
}

/// Receivers of one client that do not answer take a part of what is sent at a time.
#[test]
fn one_client_does_not_delay_others() {
    let (mut book, tails) = (book(&[]), Tails::default());
    for n in 0..40 {
        run(&mut book, put(&format!("a{n}"), "ann", &webhook("a")), &tails, 0);
    }
    run(&mut book, put("b", "bob", &webhook("a")), &tails, 0);
    append(&mut book, &tails, &[("a", 1)], 0);
    let jobs = due(&mut book, &tails, 0);
    assert_eq!(jobs.len(), 17);
    assert!(jobs.iter().any(|job| job.id == "b"));
    assert!(due(&mut book, &tails, 0).is_empty() && book.deadline(0).is_none(), "the others wait for those");
    jobs.into_iter().for_each(|job| book.sent(job, Outcome::Delivered(true), 0));
    assert_eq!(due(&mut book, &tails, 0).len(), 16);
}

/// What is stored is what there is, after every change; a process that continues from it sends a wake again that was being sent.
#[test]
fn another_process_continues_from_what_is_stored() {
    let (mut book, tails) = (book(&[]), Tails::default());
    let mut entries: BTreeMap<Vec<u8>, bytes::Bytes> = BTreeMap::new();
    let mut store = |book: &mut Book| {
        for (key, value) in book.changes() {
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
        }
        stored::read(entries.clone().into_iter().collect()).subscriptions
    };
    run(&mut book, put("s", "ann", &webhook("a/*")), &tails, 0);
    run(&mut book, put("gone", "ann", &pull("a/*")), &tails, 0);
    append(&mut book, &tails, &[("a/1", 6)], 0);
    let jobs = due(&mut book, &tails, 0);
    let wake = jobs.iter().find(|job| job.id == "s").map(body).unwrap();
    run(&mut book, Command::Delete { id: "gone".to_owned(), caller: caller("ann") }, &tails, 0);
    let stored = store(&mut book);
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["s"]);
    let mut next = Book::new(book.key.clone(), settings(&[]), stored, usize::MAX);
    let job = due(&mut next, &tails, 5_000).remove(0);
    let again = body(&job);
    assert_eq!((&again["wake_id"], &again["generation"]), (&wake["wake_id"], &json!(1)));
    // The worker of the first one calls back.
    assert_eq!(run(&mut next, ack(&wake, &[("a/1", 6)], true, Act::Callback), &tails, 5_000).status, 200);
    next.sent(job, Outcome::Delivered(false), 5_000);
    let stored = store(&mut next);
    let mut last = Book::new(book.key.clone(), settings(&[]), stored, usize::MAX);
    assert!(due(&mut last, &tails, 10_000).is_empty(), "it is acknowledged");
    assert_eq!(get(&mut last, &tails, "s")["streams"][0]["acked_offset"], Offset(Cursor::new(6, 0)).to_string());
    assert!(store(&mut last).contains_key("s"));
}

/// Channels that its creator may not read are not streams of a subscription, whatever its pattern selects.
#[test]
fn a_pattern_selects_what_its_creator_may_read() {
    let (mut book, tails) = (book(&[]), Tails::default());
    let mut of = |id: &str, scope: Scope| {
        let (caller, config) = (caller("ann"), config(&webhook("**")));
        let command = Command::Put { id: id.to_owned(), caller, config, scope, base: String::new() };
        assert_eq!(run(&mut book, command, &tails, 0).status, 201);
    };
    of("token", Scope::Of("a/*".parse().unwrap()));
    of("open", Scope::Open);
    of("backend", Scope::All);
    append(&mut book, &tails, &[("a/1", 1), ("secret", 2), ("user.bob", 3)], 0);
    let mut paths = |id: &str| get(&mut book, &tails, id)["streams"].as_array().unwrap().len();
    assert_eq!((paths("token"), paths("open"), paths("backend")), (1, 2, 3));
}

/// What is counted is at least what a bus stores, also with a wake of long names.
#[test]
fn what_is_stored_is_counted() {
    let long = "x".repeat(100);
    let mut book = book(&[]);
    let base = format!("http://{long}/streams");
    let descriptions = [String::new(), "\u{1}\"".repeat(300)];
    for (n, description) in descriptions.into_iter().enumerate() {
        let (id, tails) = (format!("{n}{}", "i".repeat(120)), Tails::default());
        let json = json!({
            "type": "pull-wake", "pattern": format!("{long}/*"), "wake_stream": format!("w/{long}"),
            "streams": [format!("e/{long}"), "short"], "description": description,
        });
        let scope = Scope::Of(format!("{long}/*,*").parse().unwrap());
        let put =
            Command::Put { id: id.clone(), caller: caller(&long), config: config(&json), scope, base: base.clone() };
        assert_eq!(run(&mut book, put, &tails, 0).status, 201);
        append(&mut book, &tails, &[(&format!("{long}/s"), u64::MAX), (&format!("e/{long}"), u64::MAX)], 0);
    }
    for (id, subscription) in &mut book.subscriptions {
        subscription.extend_lease(1_763_800_000_000, Some("w".repeat(128)));
        assert!(subscription.wake.is_some() && subscription.links.len() == 3);
        let links = subscription.links.iter().map(|(name, link)| stored::link(id, name, Some(link)));
        let entries = links.chain([stored::subscription(id, Some(subscription))]);
        let stored: usize = entries.map(|(key, value)| 128 + key.len() + value.unwrap().len()).sum();
        assert!((stored..2 * stored).contains(&subscription.bytes(id)), "{} of {stored}", subscription.bytes(id));
    }
}

/// A bus with little space has few subscriptions.
#[test]
fn there_are_as_many_subscriptions_as_there_is_space_for() {
    let tails = Tails::default();
    let mut book = Book::new(Arc::new(ServerKey::generate()), settings(&[]), BTreeMap::new(), 20_000);
    let mut created = 0;
    let refusal = loop {
        let command = Command::Put {
            id: format!("s{created}"),
            caller: Caller { owner: "ann".to_owned(), has_all: true },
            config: config(&webhook("a/*")),
            scope: Scope::All,
            base: "http://x/streams".to_owned(),
        };
        let reply = run(&mut book, command, &tails, 0);
        if reply.status != 201 {
            break reply;
        }
        created += 1;
    };
    assert_eq!(code(&refusal), (429, "TOO_MANY_SUBSCRIPTIONS".to_owned()));
    assert!((5..=11).contains(&created), "{created}");
}
