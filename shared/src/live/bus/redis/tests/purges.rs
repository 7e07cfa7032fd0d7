//! Purges: on all processes, on those that are started later, and what remains in Redis.

use super::*;

/// The channels of the messages in the stream, and the number of purges.
async fn entries(server: &Server) -> (Vec<String>, usize) {
    let redis::Value::Array(entries) = server.command(&["XRANGE", scripts::STREAM, "-", "+"]).await else { panic!() };
    let (mut channels, mut purges) = (Vec::new(), 0);
    for value in entries {
        match entry::read(value).unwrap().what {
            entry::What::Message(draft) => channels.push(draft.channel.to_string()),
            entry::What::Purge(..) => purges += 1,
            _ => {}
        }
    }
    (channels, purges)
}

async fn erased(server: &Server, left: &[&str]) {
    let began = Instant::now();
    while entries(server).await.0 != left {
        assert!(began.elapsed() < PATIENCE, "{:?} instead of {left:?}", entries(server).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Connected readers get no event, on no process; a reader that resumes from before gets a gap, also on a process that was started when
/// the messages were gone.
#[tokio::test]
async fn a_purge_is_obeyed_by_all_processes() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    // Longer than a slice, and the last of them by the other process.
    let first = one.publish(publication("a", 0)).await.unwrap().ids[0];
    for n in 1..250 {
        one.publish(publication(if n % 3 == 0 { "b" } else { "a" }, n)).await.unwrap();
    }
    let last = other.publish(publication("a", 250)).await.unwrap().ids[0];
    let mut readers: Vec<_> =
        [&one, &other].map(|bus| Reader::open(bus.log(), &[channel("a")], Since::Earliest)).into();
    for reader in &mut readers {
        while take(reader, 1).await.0.last() != Some(&last) {}
    }
    assert_eq!(one.purge(channel("a")).await, Ok(last));
    for bus in [&one, &other] {
        until("the record is read", || bus.log().head() > last).await;
        assert_eq!(bus.log().channel_stats(&channel("a")).messages, 0);
        assert_eq!(bus.log().channel_stats(&channel("b")).messages, 83);
    }
    erased(&server, &["b"; 83]).await;
    let late = connect(&server.url()).await;
    for bus in [&one, &other, &late] {
        for (cursor, is_gap) in [(first, true), (last, false)] {
            let reader = Reader::open(bus.log(), &[channel("a"), channel("b")], Since::After(cursor));
            assert_eq!(reader.is_gap(), is_gap, "{cursor}");
        }
    }
    let next = other.publish(publication("a", 251)).await.unwrap().ids[0];
    for reader in &mut readers {
        assert_eq!(take(reader, 1).await, (vec![next], false), "and no gap");
    }
    // Without a message there is nothing to record.
    assert_eq!(one.purge(channel("nobody")).await, Ok(next));
    assert_eq!(entries(&server).await.1, 1);
}

/// The newest message that a process has published is deleted: the process does not take that for a loss after it has reconnected.
#[tokio::test]
async fn a_purge_is_not_taken_for_a_loss() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let kept = one.publish(publication("kept", 1)).await.unwrap().ids[0];
    one.publish(publication("a", 2)).await.unwrap();
    other.purge(channel("a")).await.unwrap();
    erased(&server, &["kept"]).await;
    let mut reader = Reader::open(one.log(), &[channel("kept")], Since::After(kept));
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("the connection is lost", || one.ready().is_err()).await;
    ready(&one).await;
    let next = one.publish(publication("kept", 3)).await.unwrap().ids[0];
    assert_eq!(take(&mut reader, 1).await, (vec![next], false));
}

/// The oldest entries are deleted, and nothing else is left: that is not trimming, which would be a gap on all channels.
#[tokio::test]
async fn a_purge_of_the_oldest_entries_is_a_gap_on_its_channel_only() {
    let server = Server::start().await;
    let (one, other) = (connect(&server.url()).await, connect(&server.url()).await);
    let first = one.publish(publication("a", 1)).await.unwrap().ids[0];
    let last = one.publish(publication("a", 2)).await.unwrap().ids[0];
    // What the stream began with.
    server.command(&["XTRIM", scripts::STREAM, "MINID", &first.to_string()]).await;
    other.wait_for(last).await;
    other.purge(channel("a")).await.unwrap();
    erased(&server, &[]).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("the connection is lost", || one.ready().is_err()).await;
    ready(&one).await;
    let late = connect(&server.url()).await;
    for bus in [&one, &late] {
        for (name, cursor, is_gap) in [("a", last, false), ("a", first, true), ("quiet", first, false)] {
            let reader = Reader::open(bus.log(), &[channel(name)], Since::After(cursor));
            assert_eq!(reader.is_gap(), is_gap, "{name} {cursor}");
        }
    }
}

/// A process that ended before it had deleted everything, as one that repeats the request does.
#[tokio::test]
async fn a_repeated_purge_deletes_what_is_left() {
    let server = Server::start().await;
    let bus = connect(&server.url()).await;
    let id = bus.publish(publication("a", 1)).await.unwrap().ids[0];
    bus.publish(publication("b", 2)).await.unwrap();
    // The record alone.
    server.command(&["XADD", scripts::STREAM, "*", "purge", "a", "up_to", &id.to_string()]).await;
    until("it is obeyed", || bus.log().channel_stats(&channel("a")).messages == 0).await;
    assert_eq!(entries(&server).await.0, ["a", "b"]);
    bus.purge(channel("a")).await.unwrap();
    erased(&server, &["b"]).await;
}
