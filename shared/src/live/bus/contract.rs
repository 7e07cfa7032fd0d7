//! The contract of every bus: each guarantee of [`Bus`], tested with two handles on the same order.
//!
//! `connect` opens one more process's view of the same bus; for a bus of a single process, it returns the same one.

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use super::*;
use crate::{
    live::reader::{Limit, Reader},
    pure::{
        ChannelName, Payload, Since,
        stream::{Append, Create, Fork, Lifetime, Outcome, Producer},
    },
};

fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

fn draft(name: &str, data: impl serde::Serialize) -> Draft {
    Draft::new(channel(name), Payload::from_value(&data))
}

/// Reads until `count` messages have arrived, with their ids and data.
async fn take(reader: &mut Reader, count: usize) -> Vec<(Cursor, String)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(10), reader.next(Limit::default()));
        let batch = batch.await.expect("messages come within ten seconds").expect("the log is open");
        assert_eq!(batch.gap, None);
        taken.extend(batch.messages.iter().map(|m| (m.id, m.draft.payload.plain_json().into_owned())));
    }
    taken
}

/// Runs the whole contract on a bus; `connect` is called for each process's view of it.
pub(crate) async fn suite<F: Future<Output = Arc<dyn Bus>>>(connect: impl Fn() -> F) {
    ids_grow_and_arrive_in_order_everywhere(connect().await, connect().await).await;
    a_batch_is_added_together(connect().await).await;
    a_key_adds_once(connect().await, connect().await).await;
    publishers_at_once_agree_on_one_order(connect().await, connect().await).await;
    a_cursor_of_one_process_resumes_on_another(connect().await, connect().await).await;
    the_holder_of_a_lease_stores_its_state(connect().await, connect().await).await;
}

/// The guarantees of streams, for buses that have them.
pub(crate) async fn streams(bus: Arc<dyn Bus>) {
    a_stream_has_what_was_appended_until_it_is_closed(&bus).await;
    appends_at_once_are_checked_one_after_the_other(&bus).await;
    a_fork_outlives_its_source(&bus).await;
}

/// An empty stream of JSON, owned by one client.
pub(crate) fn create(name: &str) -> Create {
    Create {
        channel: channel(name),
        content_type: "application/json".parse().ok(),
        lifetime: Lifetime::Unlimited,
        is_closed: false,
        payloads: Vec::new(),
        fork: None,
        user: None,
        owner: Some("owner".into()),
    }
}

/// An append of these numbers.
pub(crate) fn append(name: &str, data: &[usize]) -> Append {
    Append {
        channel: channel(name),
        content_type: "application/json".parse().ok(),
        payloads: data.iter().map(Payload::from_value).collect(),
        seq: None,
        producer: None,
        is_closing: false,
        user: None,
    }
}

async fn do_stream(bus: &Arc<dyn Bus>, op: impl Into<StreamOp>) -> Result<StreamReply, StreamError> {
    bus.stream(op.into()).await.map_err(|error| match error {
        BusError::Stream(error) => error,
        error => panic!("{error}"),
    })
}

impl From<Create> for StreamOp {
    fn from(create: Create) -> Self {
        Self::Create(create.into())
    }
}

impl From<Append> for StreamOp {
    fn from(append: Append) -> Self {
        Self::Append(append.into())
    }
}

async fn a_stream_has_what_was_appended_until_it_is_closed(bus: &Arc<dyn Bus>) {
    let created = do_stream(bus, create("stream.a")).await.unwrap().info;
    let mut reader = Reader::open(bus.log(), &[channel("stream.a")], Since::Earliest);
    assert_eq!(do_stream(bus, create("stream.a")).await.unwrap().outcome, Outcome::Repeated(None));
    do_stream(bus, append("stream.a", &[1, 2])).await.unwrap();
    let published = bus.publish(Publication::new(vec![draft("stream.a", 3)])).await.unwrap();
    assert_eq!(bus.stream_info(&channel("stream.a"), false).unwrap().tail, published[0]);
    let last = do_stream(bus, Append { is_closing: true, ..append("stream.a", &[4]) }).await.unwrap().info;
    assert!(last.created == created.created && last.tail > published[0] && last.end > Some(last.tail));
    assert_eq!(bus.stream_info(&channel("stream.a"), false).unwrap(), last);
    let closed = Err(StreamError::Closed { tail: last.tail });
    assert_eq!(do_stream(bus, append("stream.a", &[5])).await, closed);
    let refused = bus.publish(Publication::new(vec![draft("stream.b", 0), draft("stream.a", 5)])).await;
    assert_eq!(refused, Err(BusError::Stream(StreamError::Closed { tail: last.tail })));
    let data: Vec<_> = take(&mut reader, 4).await.into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, ["1", "2", "3", "4"]);
    do_stream(bus, StreamOp::Delete(channel("stream.a"))).await.unwrap();
    assert_eq!(
        bus.stream_info(&channel("stream.a"), false),
        Err(BusError::Stream(StreamError::NotFound(channel("stream.a"))))
    );
    let used = bus.publish(Publication::new(vec![draft("stream.a", 6)])).await.unwrap();
    assert!(Some(used[0]) > last.end, "an end has a position");
    assert_eq!(do_stream(bus, create("stream.a")).await, Err(StreamError::ChannelInUse(channel("stream.a"))));
}

async fn appends_at_once_are_checked_one_after_the_other(bus: &Arc<dyn Bus>) {
    do_stream(bus, create("stream.race")).await.unwrap();
    let producer = |seq| Some(Producer { id: "p".into(), epoch: 0, seq });
    let request = |seq: usize| Append { producer: producer(seq as u64), ..append("stream.race", &[seq]) };
    // In the order in which they are asked, before any of them is answered; each twice.
    let ops: Vec<_> = (0..20).flat_map(|seq| [request(seq), request(seq)]).collect();
    let answers = futures_util::future::join_all(ops.into_iter().map(|op| do_stream(bus, op))).await;
    for (at, answer) in answers.into_iter().enumerate() {
        let expected = if at % 2 == 0 { Outcome::Done } else { Outcome::Repeated(Some(at as u64 / 2)) };
        assert_eq!(answer.unwrap().outcome, expected, "{at}");
    }
    let gap = StreamError::SequenceGap { expected: 20, received: 30 };
    assert_eq!(do_stream(bus, request(30)).await, Err(gap));
    let closing = Append { is_closing: true, ..append("stream.race", &[]) };
    let (first, second) = futures_util::join!(do_stream(bus, closing), do_stream(bus, request(20)));
    assert!(first.is_ok() && matches!(second, Err(StreamError::Closed { .. })), "{second:?}");
}

async fn a_fork_outlives_its_source(bus: &Arc<dyn Bus>) {
    do_stream(bus, Create { payloads: vec![Payload::from_value(&1)], ..create("stream.source") }).await.unwrap();
    let at = do_stream(bus, append("stream.source", &[2])).await.unwrap().info.tail;
    do_stream(bus, append("stream.source", &[3])).await.unwrap();
    let fork = Some(Fork { source: channel("stream.source"), at: Some(at), sub: 0 });
    let info = do_stream(bus, Create { fork, ..create("stream.fork") }).await.unwrap().info;
    assert_eq!(info.tail, at);
    do_stream(bus, StreamOp::Delete(channel("stream.source"))).await.unwrap();
    let taken = do_stream(bus, create("stream.source")).await;
    assert_eq!(taken, Err(StreamError::NameTaken(channel("stream.source"))));
    do_stream(bus, append("stream.fork", &[4])).await.unwrap();
    let mut reader = Reader::open(bus.log(), &[channel("stream.fork")], Since::Earliest).with_copies();
    let data: Vec<_> = take(&mut reader, 3).await.into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, ["1", "2", "4"]);
    do_stream(bus, StreamOp::Delete(channel("stream.fork"))).await.unwrap();
    do_stream(bus, create("stream.source")).await.unwrap();
}

async fn ids_grow_and_arrive_in_order_everywhere(one: Arc<dyn Bus>, other: Arc<dyn Bus>) {
    one.ready().expect("a bus at work is ready");
    let mut here = Reader::open(one.log(), &[channel("order.a"), channel("order.b")], Since::Now);
    let mut there = Reader::open(other.log(), &[channel("order.a"), channel("order.b")], Since::Now);
    let mut sent = Vec::new();
    for n in 0..50 {
        let bus = if n % 3 == 0 { &other } else { &one };
        let name = if n % 2 == 0 { "order.a" } else { "order.b" };
        let ids = bus.publish(Publication::new(vec![draft(name, n)])).await.unwrap();
        assert!(!ids.is_repeat);
        sent.push((ids[0], n.to_string()));
    }
    assert!(sent.is_sorted_by(|a, b| a.0 < b.0), "ids grow: {sent:?}");
    assert_eq!(take(&mut here, 50).await, sent);
    assert_eq!(take(&mut there, 50).await, sent);
}

async fn a_batch_is_added_together(bus: Arc<dyn Bus>) {
    let mut reader = Reader::open(bus.log(), &[channel("batch.a"), channel("batch.b")], Since::Now);
    let drafts = vec![draft("batch.a", 1), draft("batch.b", 2), draft("batch.a", 3)];
    let ids = bus.publish(Publication::new(drafts)).await.unwrap().ids;
    let expected: Vec<_> = ids.iter().copied().zip(["1", "2", "3"].map(str::to_owned)).collect();
    assert_eq!(take(&mut reader, 3).await, expected);
    assert_eq!(bus.publish(Publication::new(Vec::new())).await, Ok(Published::default()), "nothing is no fault");
}

async fn a_key_adds_once(one: Arc<dyn Bus>, other: Arc<dyn Bus>) {
    let mut reader = Reader::open(one.log(), &[channel("key.a")], Since::Now);
    let key = |scope: &str| Some(IdempotencyKey { scope: scope.into(), key: "k".into() });
    let publication =
        |data: &str, scope| Publication::new(vec![draft("key.a", data), draft("key.a", data)]).with_key(key(scope));
    let first = one.publish(publication("first", "me")).await.unwrap();
    assert!(!first.is_repeat);
    let again = Published { is_repeat: true, ..first.clone() };
    assert_eq!(one.publish(publication("first", "me")).await.unwrap(), again);
    assert_eq!(other.publish(publication("first", "me")).await.unwrap(), again);
    for bus in [&one, &other] {
        assert_eq!(bus.publish(publication("other", "me")).await, Err(BusError::Reused));
        let less = Publication::new(vec![draft("key.a", "first")]).with_key(key("me"));
        assert_eq!(bus.publish(less).await, Err(BusError::Reused));
    }
    assert_eq!(other.publish(publication("first", "me")).await.unwrap(), again, "still");
    // The same can be asked without publishing, and an application may have changed what is published.
    let asked = |data: &str| vec![draft("key.a", data)];
    let them = IdempotencyKey { scope: "them".into(), key: "k".into() };
    for bus in [&one, &other] {
        let mine = publication("first", "me");
        assert_eq!(bus.find(&mine.key.unwrap(), &mine.drafts).await, Ok(Some(again.clone())));
        assert_eq!(bus.find(&them, &asked("asked")).await, Ok(None));
    }
    let changed = Publication { original: Some(asked("asked")), ..Publication::new(asked("changed")) };
    let changed = one.publish(changed.with_key(Some(them.clone()))).await.unwrap();
    for bus in [&one, &other] {
        let found = bus.find(&them, &asked("asked")).await;
        assert_eq!(found, Ok(Some(Published { is_repeat: true, ..changed.clone() })));
        assert_eq!(bus.find(&them, &asked("changed")).await, Err(BusError::Reused));
    }
    let yours = other.publish(publication("yours", "you")).await.unwrap();
    assert!(yours.ids != first.ids && !yours.is_repeat);
    let data: Vec<_> = take(&mut reader, 5).await.into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, ["\"first\"", "\"first\"", "\"changed\"", "\"yours\"", "\"yours\""]);
}

async fn publishers_at_once_agree_on_one_order(one: Arc<dyn Bus>, other: Arc<dyn Bus>) {
    let mut readers =
        [&one, &other].map(|bus| Reader::open(bus.log(), &[channel("race.a"), channel("race.b")], Since::Now));
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let bus = if publisher % 2 == 0 { one.clone() } else { other.clone() };
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in 0..50 {
                    let name = if n % 2 == 0 { "race.a" } else { "race.b" };
                    ids.extend(bus.publish(Publication::new(vec![draft(name, (publisher, n))])).await.unwrap().ids);
                }
                ids
            })
        })
        .collect();
    let mut all = HashSet::new();
    for publisher in publishers {
        let ids = publisher.await.unwrap();
        assert!(ids.is_sorted_by(|a, b| a < b), "each publisher's ids grow");
        all.extend(ids);
    }
    assert_eq!(all.len(), 400, "no id twice");
    let [here, there] = [take(&mut readers[0], 400).await, take(&mut readers[1], 400).await];
    assert!(here.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(here, there);
}

async fn a_cursor_of_one_process_resumes_on_another(one: Arc<dyn Bus>, other: Arc<dyn Bus>) {
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.extend(one.publish(Publication::new(vec![draft("resume", n)])).await.unwrap().ids);
    }
    other.wait_for(ids[9]).await;
    let mut reader = Reader::open(other.log(), &[channel("resume")], Since::After(ids[3]));
    let expected: Vec<_> = (4..10).map(|n| (ids[n], n.to_string())).collect();
    assert_eq!(take(&mut reader, 6).await, expected);
}

async fn the_holder_of_a_lease_stores_its_state(one: Arc<dyn Bus>, other: Arc<dyn Bus>) {
    const NAME: &str = "contract";
    assert_eq!(other.read_state(NAME).await, Ok(None));
    assert!(one.lease(NAME, Duration::from_secs(60)).await.is_some());
    for state in ["first", "second\0"] {
        one.write_state(NAME, state.into()).await.unwrap();
        assert_eq!(other.read_state(NAME).await, Ok(Some(state.into())));
    }
    let entries = async |bus: &Arc<dyn Bus>| {
        let mut entries = bus.read_entries(NAME).await.unwrap();
        entries.sort_unstable();
        entries
    };
    assert_eq!(entries(&other).await, []);
    let (a, b, c): (Vec<u8>, Vec<u8>, Vec<u8>) = (b"a".into(), b"b\0\xff".into(), b"c".into());
    let first = vec![(b.clone(), Some("2".into())), (a.clone(), Some("1".into())), (c.clone(), Some("".into()))];
    one.write_entries(NAME, first).await.unwrap();
    assert_eq!(entries(&other).await, [(a.clone(), "1".into()), (b.clone(), "2".into()), (c.clone(), "".into())]);
    one.write_entries(NAME, vec![(c, None), (b"none".into(), None), (b.clone(), Some("3".into()))]).await.unwrap();
    assert_eq!(entries(&other).await, [(a.clone(), "1".into()), (b, "3".into())]);
    assert_eq!(other.read_entries("another").await, Ok(Vec::new()));
    // On a bus of a single process both are one, and there is no other process.
    if !std::ptr::addr_eq(Arc::as_ptr(&one), Arc::as_ptr(&other)) {
        assert!(other.lease(NAME, Duration::from_secs(60)).await.is_none());
        assert!(other.write_state(NAME, "third".into()).await.is_err());
        assert!(other.write_entries(NAME, vec![(a, None)]).await.is_err());
    }
    one.release(NAME, Cursor::ZERO).await;
    assert!(other.lease(NAME, Duration::from_secs(60)).await.is_some());
    other.write_state(NAME, "third".into()).await.unwrap();
    assert_eq!(one.read_state(NAME).await, Ok(Some("third".into())));
}
