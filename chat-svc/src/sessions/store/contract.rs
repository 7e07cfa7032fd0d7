//! What every store of sessions has to do, run on each.

use std::time::Duration;

use super::*;

const KEEP: Duration = Duration::from_secs(60);

fn pid() -> ByteString {
    format!("pid-{:016x}", rand::random::<u64>()).into()
}

fn save(pid: &ByteString, holder: Holder, session: &str) -> Save {
    Save { pid: pid.clone(), holder, before: None, session: Some(session.into()), keep: KEEP, is_live: true }
}

async fn saved(store: &dyn SessionStore, save: Save) -> SaveOutcome {
    store.save(&[save]).await.unwrap()[0]
}

/// Runs all of it.
pub(in crate::sessions) async fn all(store: &dyn SessionStore) {
    a_session_has_one_holder(store).await;
    a_session_that_was_handed_on_here_is_still_ours(store).await;
    only_what_is_there_is_prolonged(store).await;
    a_session_has_an_end(store).await;
    many_are_saved_at_once(store).await;
    of_many_that_take_it_the_last_one_has_it(store).await;
}

async fn a_session_has_one_holder(store: &dyn SessionStore) {
    let (pid, [one, two, three]) = (pid(), [1, 2, 3].map(Holder));
    assert_eq!(store.acquire(&pid, one).await, Ok(None));
    assert_eq!(saved(store, save(&pid, one, "1")).await, SaveOutcome::Saved);
    assert_eq!(saved(store, save(&pid, one, "2")).await, SaveOutcome::Saved);
    assert_eq!(saved(store, save(&pid, two, "3")).await, SaveOutcome::TakenOver);
    let taken = store.acquire(&pid, two).await.unwrap().unwrap();
    assert_eq!((&*taken.session, taken.before), ("2", one));
    assert!(taken.left <= KEEP && taken.left > KEEP / 2, "{:?}", taken.left);
    // Who has lost it changes nothing any more, neither the session nor its time.
    for late in [save(&pid, one, "4"), Save { session: None, keep: Duration::ZERO, ..save(&pid, one, "") }] {
        assert_eq!(saved(store, late).await, SaveOutcome::TakenOver);
    }
    let again = store.acquire(&pid, three).await.unwrap().unwrap();
    assert_eq!((&*again.session, again.before), ("2", two));
    assert_eq!(saved(store, save(&pid, three, "5")).await, SaveOutcome::Saved);
    assert_eq!(&*store.acquire(&pid, three).await.unwrap().unwrap().session, "5");
}

async fn a_session_that_was_handed_on_here_is_still_ours(store: &dyn SessionStore) {
    let (pid, [one, two, three]) = (pid(), [1, 2, 3].map(Holder));
    saved(store, save(&pid, one, "1")).await;
    assert_eq!(saved(store, Save { before: Some(three), ..save(&pid, two, "2") }).await, SaveOutcome::TakenOver);
    assert_eq!(saved(store, Save { before: Some(one), ..save(&pid, two, "2") }).await, SaveOutcome::Saved);
    assert_eq!(saved(store, save(&pid, one, "3")).await, SaveOutcome::TakenOver);
    assert_eq!(store.acquire(&pid, three).await.unwrap().unwrap().before, two);
}

async fn only_what_is_there_is_prolonged(store: &dyn SessionStore) {
    let (pid, me) = (pid(), Holder(1));
    let touch = Save { session: None, ..save(&pid, me, "") };
    assert_eq!(saved(store, touch.clone()).await, SaveOutcome::Missing);
    assert_eq!(store.acquire(&pid, me).await, Ok(None));
    saved(store, save(&pid, me, "1")).await;
    assert_eq!(saved(store, Save { keep: KEEP * 2, ..touch }).await, SaveOutcome::Saved);
    let taken = store.acquire(&pid, me).await.unwrap().unwrap();
    assert_eq!(&*taken.session, "1");
    assert!(taken.left > KEEP, "{:?}", taken.left);
}

async fn a_session_has_an_end(store: &dyn SessionStore) {
    let (pid, me) = (pid(), Holder(1));
    saved(store, save(&pid, me, "1")).await;
    assert_eq!(
        saved(store, Save { session: None, keep: Duration::ZERO, ..save(&pid, me, "") }).await,
        SaveOutcome::Saved
    );
    assert_eq!(store.acquire(&pid, me).await, Ok(None));
    saved(store, Save { keep: Duration::from_millis(30), ..save(&pid, me, "1") }).await;
    let mut tries = 0;
    while store.acquire(&pid, me).await.unwrap().is_some() {
        tries += 1;
        assert!(tries < 1_000, "the session does not expire");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn many_are_saved_at_once(store: &dyn SessionStore) {
    let pids: Vec<ByteString> = (0..100).map(|_| pid()).collect();
    saved(store, save(&pids[7], Holder(2), "other")).await;
    let saves: Vec<Save> = pids.iter().map(|pid| save(pid, Holder(1), pid)).collect();
    let outcomes = store.save(&saves).await.unwrap();
    let lost: Vec<usize> = (0..100).filter(|n| outcomes[*n] == SaveOutcome::TakenOver).collect();
    assert_eq!((outcomes.len(), lost), (100, vec![7]));
    for (n, pid) in pids.iter().enumerate() {
        let session = store.acquire(pid, Holder(3)).await.unwrap().unwrap().session;
        assert_eq!(&*session, if n == 7 { "other" } else { pid });
    }
}

async fn of_many_that_take_it_the_last_one_has_it(store: &dyn SessionStore) {
    let (pid, me) = (pid(), Holder(1_000));
    saved(store, save(&pid, me, "1")).await;
    let takers = (0..20).map(|n| store.acquire(&pid, Holder(n)));
    let taken = futures_util::future::join_all(takers).await;
    let mut before: Vec<Holder> = taken.into_iter().map(|taken| taken.unwrap().unwrap().before).collect();
    before.sort_unstable_by_key(|holder| holder.0);
    before.dedup();
    assert_eq!(before.len(), 20, "each takeover has another previous holder");
    let mut owners = 0;
    for n in 0..20 {
        owners += usize::from(saved(store, save(&pid, Holder(n), "2")).await == SaveOutcome::Saved);
    }
    assert_eq!(owners, 1);
}
