//! Forks, and what is left of their sources.

use super::{super::fork::undisturbed, *};

#[test]
fn a_fork_has_the_beginning_of_its_source_under_the_same_ids() {
    let log = log(100_000);
    let start = make(&log, create("s")).start;
    let first = add(&log, "s", &["1"]).tail;
    let last = add(&log, "s", &["2", "3"]).tail;
    let whole = make(&log, fork("whole", "s", None, 0));
    assert_eq!((whole.start, whole.tail), (start, last));
    assert_eq!(make(&log, fork("part", "s", Some(first), 1)).tail.ms, last.ms);
    assert_eq!(make(&log, fork("none", "s", Some(Cursor::ZERO), 0)).tail, start);
    add(&log, "s", &["4"]);
    add(&log, "part", &["5"]);
    assert_eq!(["s", "whole", "part", "none"].map(|channel| all(&log, channel)), ["1234", "123", "125", ""]);
    assert_eq!(read(&log, "whole", Since::After(first)), ("23".into(), false));
    let refused = |create: Create| at(&log, 0, StreamOp::Create(create.into())).unwrap_err();
    assert_eq!(refused(fork("f", "s", Some(first), 4)), StreamError::ForkSubOffset);
    assert_eq!(refused(fork("f", "s", Some(Cursor::MAX), 0)), StreamError::ForkOffset);
    assert_eq!(refused(fork("f", "nobody", None, 0)), StreamError::NoSource(name("nobody")));
    let again = at(&log, 0, StreamOp::Create(fork("whole", "s", None, 0).into())).unwrap();
    assert_eq!(again.outcome, Outcome::Repeated(None), "although the source has gone on");
}

#[test]
fn a_fork_of_bytes_may_end_within_an_append() {
    let log = log(100_000);
    let bytes = |text: &'static str| vec![Payload::from_bytes(text.into())];
    make(&log, Create { content_type: None, payloads: bytes("hello"), ..create("s") });
    let text = |channel: &str| {
        let batch = Reader::open(&log, &[name(channel)], Since::Earliest).with_copies().read(ALL).unwrap();
        let bytes = batch.messages.iter().flat_map(|message| message.draft.payload.bytes().unwrap().to_vec());
        String::from_utf8(bytes.collect()).unwrap()
    };
    make(&log, Create { payloads: bytes("XY"), ..fork("f", "s", Some(Cursor::ZERO), 3) });
    make(&log, fork("g", "f", Some(Cursor::ZERO), 2));
    make(&log, fork("h", "s", Some(Cursor::ZERO), 5));
    assert_eq!(["f", "g", "h"].map(text), ["helXY", "he", "hello"]);
    let beyond = at(&log, 0, StreamOp::Create(fork("i", "s", Some(Cursor::ZERO), 6).into()));
    assert_eq!(beyond, Err(StreamError::ForkSubOffset));
    // A part is counted by its length, so it does not keep the memory of the rest.
    let address = |channel: &str| {
        let batch = Reader::open(&log, &[name(channel)], Since::Earliest).with_copies().read(ALL).unwrap();
        batch.messages[0].draft.payload.bytes().unwrap().as_ptr().addr()
    };
    let whole = address("s");
    assert!(!(whole..whole + 5).contains(&address("f")));
}

#[test]
fn the_name_of_a_deleted_source_is_free_after_its_last_fork() {
    let log = log(100_000);
    make(&log, create("a"));
    add(&log, "a", &["1"]);
    make(&log, fork("b", "a", None, 0));
    make(&log, fork("c", "b", None, 0));
    delete(&log, "a").unwrap();
    delete(&log, "b").unwrap();
    let gone = Err(StreamError::Gone(name("a")));
    assert_eq!(delete(&log, "a"), gone);
    assert_eq!(log.stream_info(&name("a"), false, START), Err(StreamError::Gone(name("a"))));
    // Whoever could read a stream could block its channel by a fork, after its end.
    publish(&log, "a", "1").unwrap();
    let taken = Err(StreamError::NameTaken(name("a")));
    assert_eq!(at(&log, 0, StreamOp::Create(create("a").into())), taken);
    let refork = at(&log, 0, StreamOp::Create(fork("d", "a", None, 0).into()));
    assert_eq!(refork, Err(StreamError::SourceGone(name("a"))));
    assert_eq!(all(&log, "c"), "1");
    delete(&log, "c").unwrap();
    assert_eq!(log.stream_info(&name("a"), false, START), Err(StreamError::NotFound(name("a"))));
    assert_eq!((log.counts().stream_footprint, log.counts().messages), (0, 1));
    assert_eq!(at(&log, 0, StreamOp::Create(create("a").into())), Err(StreamError::ChannelInUse(name("a"))));
}

/// Every fork copied its source before it was rejected: as many at once as there are workers.
#[test]
fn the_memory_of_a_fork_is_reserved_before_it_copies() {
    let log = log(100_000);
    make(&log, create("s"));
    while log.counts().stream_footprint < 40_000 {
        add(&log, "s", &["1"]);
    }
    let before = log.counts();
    let (first, second) = (fork("f", "s", None, 0), fork("g", "s", None, 0));
    let inherited = log.inherited(&first, START.into()).unwrap();
    assert!(log.counts().stream_footprint > 75_000, "it counts before it exists");
    let full = StreamError::Full { limit: 100_000 };
    assert_eq!(log.inherited(&second, START.into()).err(), Some(full.clone()), "no second one is copied meanwhile");
    let info = log.try_fork(&first, inherited, START.into()).unwrap().unwrap().info;
    assert_eq!(info.tail, log.stream_info(&name("s"), false, START).unwrap().tail);
    assert_eq!(log.counts().messages, 2 * before.messages);
    delete(&log, "f").unwrap();
    let after = log.counts();
    assert_eq!(
        (after.messages, after.bytes, after.stream_footprint),
        (before.messages, before.bytes, before.stream_footprint),
        "all of it was released"
    );
    // One that is rejected in the end releases its memory, too.
    let inherited = log.inherited(&first, START.into()).unwrap();
    delete(&log, "s").unwrap();
    let gone = StreamError::SourceGone(name("s"));
    assert_eq!(log.try_fork(&first, inherited, START.into()), Some(Err(gone)));
    assert_eq!((log.counts().stream_footprint, log.counts().messages), (0, 0));
}

/// A fork that exists is found. When it was deleted in between, it was created without its source: empty, and its deletion counted a fork too much.
#[test]
fn a_fork_that_is_deleted_while_it_is_created_again_looks_at_its_source() {
    let log = log(100_000);
    make(&log, create("s"));
    add(&log, "s", &["1"]);
    let again = fork("f", "s", None, 0);
    make(&log, again.clone());
    let inherited = log.inherited(&again, START.into()).unwrap();
    assert!(inherited.is_none(), "it exists");
    delete(&log, "f").unwrap();
    assert_eq!(log.try_fork(&again, inherited, START.into()), None);
    make(&log, again);
    assert_eq!(all(&log, "f"), "1");
    delete(&log, "f").unwrap();
    delete(&log, "s").unwrap();
    assert_eq!((log.counts().streams, log.counts().stream_footprint), (0, 0));
}

/// Two channels had messages under the same ids: a reader of both that was cut between them never got the second, nor did one that reconnected there.
#[test]
fn only_readers_of_one_stream_get_copies() {
    let log = log(100_000);
    make(&log, create("s"));
    let first = add(&log, "s", &["1"]).tail;
    add(&log, "s", &["2"]);
    let mut waiting = Reader::open(&log, &[name("f")], Since::After(first));
    make(&log, fork("f", "s", None, 0));
    let own = add(&log, "f", &["3"]).tail;
    add(&log, "s", &["4"]);
    let mut reader = Reader::open(&log, &[name("s"), name("f")], Since::Earliest);
    let (mut ids, mut texts) = (Vec::new(), String::new());
    while let Some(batch) = reader.read(Limit { messages: 1, ..ALL }) {
        ids.extend(batch.messages.iter().map(|message| message.id));
        texts.extend(batch.messages.iter().map(|message| message.draft.payload.plain_json().into_owned()));
    }
    assert!(texts == "1234" && ids.is_sorted_by(|a, b| a < b), "{texts} {ids:?}");
    let ids = |messages: &[Arc<Message>]| messages.iter().map(|message| message.id).collect::<Vec<_>>();
    assert_eq!(ids(&waiting.read(ALL).unwrap().messages), [own]);
    assert_eq!(ids(&log.latest(&name("f"), 10, Cursor::MAX)), [own]);
    assert_eq!(log.newest(&[name("f")]).map(|message| message.id), Some(own));
    let stats = log.channel_stats(&name("f"));
    assert_eq!((stats.messages, stats.oldest, stats.newest), (1, Some(own), Some(own)));
    assert_eq!(all(&log, "f"), "123");
}

/// A fork forgot what its channel, and its source, had lost.
#[test]
fn a_fork_remembers_what_was_lost() {
    let log = log(100_000);
    make(&log, create("f"));
    let lost = add(&log, "f", &["0"]).tail;
    add(&log, "f", &["1"]);
    delete(&log, "f").unwrap();
    make(&log, create("s"));
    let purged = add(&log, "s", &["2"]).tail;
    add(&log, "s", &["3"]);
    log.purge(&name("s"));
    let at_purge = log.stream_info(&name("s"), false, START).unwrap().tail;
    add(&log, "s", &["4"]);
    make(&log, fork("f", "s", None, 0));
    add(&log, "f", &["5"]);
    let of_channel = Reader::open(&log, &[name("f")], Since::After(lost)).read(ALL).unwrap();
    assert!(of_channel.gap.is_some(), "of the stream before");
    assert_eq!(read(&log, "f", Since::After(purged)), ("45".into(), true), "of the source");
    assert_eq!(read(&log, "f", Since::After(at_purge)), ("45".into(), false));
    make(&log, fork("g", "s", Some(purged), 0));
    assert_eq!(read(&log, "g", Since::After(purged)), (String::new(), false), "nothing after it is lost");
}

/// What a fork is not created with was freed under the lock of every publication: as much as the source had.
#[test]
fn what_a_fork_is_not_created_with_is_freed_outside_of_the_lock() {
    let log = log(100_000);
    make(&log, create("s"));
    add(&log, "s", &["1"]);
    let refused = |create: &Create, change: &dyn Fn()| {
        let mut inherited = log.inherited(create, START.into()).unwrap();
        change();
        let reply =
            log.make(&mut log.writer.lock(), &StreamOp::Create(create.clone().into()), &mut inherited, START.into());
        assert!(inherited.is_some(), "{reply:?}");
        reply
    };
    let created =
        refused(&fork("f", "s", None, 0), &|| assert_eq!(make(&log, fork("f", "s", None, 0)).end, None)).unwrap();
    assert_eq!(created.outcome, Outcome::Repeated(None), "by another request");
    let in_use = refused(&fork("c", "s", None, 0), &|| assert!(publish(&log, "c", "1").is_ok()));
    assert_eq!(in_use, Err(StreamError::ChannelInUse(name("c"))));
    let more = Create { payloads: vec![Payload::from_text(&"x".repeat(100_000))], ..fork("m", "s", None, 0) };
    assert_eq!(refused(&more, &|| ()), Err(StreamError::Full { limit: 100_000 }));
    let gone = refused(&fork("g", "s", None, 0), &|| assert!(delete(&log, "s").is_ok()));
    assert_eq!(gone, Err(StreamError::SourceGone(name("s"))));
}

/// Offsets of the stream that had the name before were continued with, after the copies that its reader never saw.
#[test]
fn an_offset_of_an_earlier_stream_is_none_of_a_fork() {
    let log = log(100_000);
    let start = make(&log, create("s")).start;
    let copies = [add(&log, "s", &["1"]).tail, add(&log, "s", &["2"]).tail];
    make(&log, create("f"));
    let earlier = [add(&log, "f", &["8"]).tail, add(&log, "f", &["9"]).tail];
    delete(&log, "f").unwrap();
    let fork_of_all = make(&log, fork("f", "s", None, 0));
    let own = add(&log, "f", &["3"]).tail;
    for cursor in earlier {
        assert!(read(&log, "f", Since::After(cursor)).1, "{cursor}");
    }
    for (cursor, expected) in
        [(start, "123"), (copies[0], "23"), (copies[1], "3"), (fork_of_all.created, "3"), (own, "")]
    {
        assert_eq!(read(&log, "f", Since::After(cursor)), (expected.into(), false), "{cursor}");
    }
    let empty = make(&log, fork("e", "f", Some(start), 0));
    assert_eq!(read(&log, "e", Since::After(empty.tail)), (String::new(), false));
}

/// The tail of a fork without messages of its own is often older than what its channel has lost. After a purge it was a gap, for ever.
#[test]
fn a_purge_of_a_fork_leaves_its_tail_valid() {
    let log = log(100_000);
    make(&log, create("s"));
    let first = add(&log, "s", &["1"]).tail;
    add(&log, "s", &["2"]);
    make(&log, create("f"));
    let lost = add(&log, "f", &["0"]).tail;
    delete(&log, "f").unwrap();
    let info = make(&log, fork("f", "s", None, 0));
    let mut on_the_channel = Reader::open(&log, &[name("f")], Since::After(info.created));
    assert!(info.tail < lost && log.channel_stats(&name("f")).bytes == 0);
    log.purge(&name("f"));
    assert_eq!(read(&log, "f", Since::After(info.tail)), (String::new(), false));
    assert_eq!(read(&log, "f", Since::Earliest), (String::new(), false));
    assert!(read(&log, "f", Since::After(first)).1, "it has missed a copy");
    let own = add(&log, "f", &["3"]).tail;
    assert_eq!(read(&log, "f", Since::After(info.tail)), ("3".into(), false));
    let batch = on_the_channel.read(ALL).unwrap();
    assert!(batch.gap.is_none() && batch.messages[0].id == own, "none of its messages is lost");
    assert_eq!(log.channel_stats(&name("f")).bytes, 1);
    log.purge(&name("f"));
    assert!(read(&log, "f", Since::After(info.tail)).1);
    assert_eq!(read(&log, "f", Since::After(own)), (String::new(), false));
    delete(&log, "f").unwrap();
    delete(&log, "s").unwrap();
    assert_eq!((log.counts().bytes, log.counts().stream_footprint), (0, 0));
}

/// A purge while the messages are collected left a fork with a part of them, or with all, and each of its offsets was a gap.
#[test]
fn a_fork_has_nothing_that_is_purged_while_it_is_read() {
    let log = log(100_000);
    make(&log, create("s"));
    add(&log, "s", &["1"]);
    let last = add(&log, "s", &["2"]).tail;
    let channel = log.find(&name("s")).unwrap();
    let mut reads = 0;
    let found = undisturbed(&channel, || {
        let found = channel.history.lock().len();
        reads += 1;
        if reads == 1 {
            log.purge(&name("s"));
        }
        Ok(found)
    });
    assert_eq!((found, reads), (Ok((0, Some(last))), 2));
}

/// A reader prolongs no lifetime that ends at a time: until the next sweep, the stream was forked after its end.
#[test]
fn a_stream_is_not_forked_after_its_end() {
    let log = log(100_000);
    make(&log, Create { lifetime: Lifetime::Until(START + 3_000), ..create("s") });
    let _reader = Reader::open(&log, &[name("s")], Since::Now);
    let forked = at(&log, 3_000, StreamOp::Create(fork("f", "s", None, 0).into()));
    assert_eq!(forked, Err(StreamError::NoSource(name("s"))));
    assert_eq!(log.counts().streams, 0);
}

/// With the last fork of a long chain, all the deleted ones before it were forgotten at once, under the lock of every publication.
#[test]
fn a_long_chain_of_deleted_forks_is_forgotten_in_slices() {
    let log = log(1_000_000);
    make(&log, create("s0"));
    let last = 2 * SLICE + 1;
    for n in 0..last {
        make(&log, fork(&format!("s{}", n + 1), &format!("s{n}"), None, 0));
        delete(&log, &format!("s{n}")).unwrap();
    }
    delete(&log, &format!("s{last}")).unwrap();
    let left = || log.writer.lock().streams.entries.len();
    assert_eq!(left(), last + 1 - SLICE);
    assert!(log.sweep_streams(START));
    assert!(!log.sweep_streams(START));
    assert_eq!((left(), log.counts().stream_footprint), (0, 0));
}
