use super::*;
use crate::{Settings, settings::ServiceDefaults};

fn edge() -> Edge {
    let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
    Edge::new(Settings::from_sources(&service, [""; 0], []).unwrap(), &service)
}

/// The host's clock may be ahead: what another host refuses for a minute would have ended already.
#[actix_web::test]
async fn records_end_by_the_clock_of_the_bus() {
    let (edge, minute) = (edge(), Duration::from_secs(60));
    let bus = SystemTime::now() - 2 * minute;
    edge.restrict(&edge.refuse_user("ann", bus, minute), bus).await;
    assert!(edge.disconnected.refused_for("ann", Instant::now()).is_some());
}

/// A bus that has lost everything gets back what has not ended, and nothing that it has.
#[actix_web::test]
async fn what_is_not_stored_is_known() {
    let (edge, now, hour) = (edge(), SystemTime::now(), Duration::from_secs(3_600));
    let revocation =
        |user: &str, expires| Revocation { tokens: Revoked::User(user.into()), issued_before: Some(7.0), expires };
    let records = [
        revocation("ann", now + hour).record(),
        revocation("bob", now + hour).record(),
        edge.refuse_user("cat", now, hour)[0].clone(),
    ];
    edge.restrict(&records, now).await;
    let mut missing = edge.unstored(&records[1..2], now).await;
    missing.sort_unstable();
    assert_eq!(missing, ["refused:cat", "revoked:user:ann"]);
    assert_eq!(edge.record("refused:cat", now).as_ref(), Some(&records[2]));
    assert_eq!(edge.record("revoked:user:ann", now).as_ref(), Some(&records[0]));
    assert!(edge.unstored(&records, now).await.is_empty());
    assert!(edge.unstored(&[], now + 2 * hour).await.iter().all(|name| name == "refused:cat"));
}

/// A bus that has gone back to an earlier copy has the names, but not what was decided last. An earlier decision may end later.
#[actix_web::test]
async fn what_is_stored_as_it_was_earlier_is_known() {
    let (edge, now, hour) = (edge(), SystemTime::now(), Duration::from_secs(3_600));
    let revocation = |user: &str, before, hours| Revocation {
        tokens: Revoked::User(user.into()),
        issued_before: before,
        expires: now + hours * hour,
    };
    let refused =
        |user: &str, decided_ms, hours| refusal(user, Kind::User, decided_ms, milliseconds(now + hours * hour));
    let known = [
        revocation("ann", Some(9.0), 2).record(),
        revocation("bob", None, 2).record(),
        revocation("cat", Some(9.0), 2).record(),
        refused("dan", 9, 2),
        refused("eve", 9, 2),
        refused("fay", 9, 1),
    ];
    edge.restrict(&known, now).await;
    let stored = [
        revocation("ann", Some(9.0), 1).record(),
        revocation("bob", Some(9.0), 2).record(),
        revocation("cat", Some(9.0), 3).record(),
        refused("dan", 8, 1),
        refused("eve", 9, 2),
        refused("fay", 8, 2),
    ];
    let missing = edge.unstored(&stored, now).await;
    assert_eq!(missing, ["revoked:user:ann", "revoked:user:bob", "refused:dan", "refused:fay"]);
    // What the copy has applies in no process, whatever was read first.
    edge.restrict(&stored, now).await;
    for name in missing {
        assert_eq!(edge.record(&name, now).as_ref(), known.iter().find(|record| record.name == name), "{name}");
    }
}

/// The user is admitted again before the earlier decision would have ended: the earlier one must not return.
#[actix_web::test]
async fn a_decision_that_has_ended_is_stored_again_over_an_earlier_one() {
    let (edge, now, minute) = (edge(), SystemTime::now(), Duration::from_secs(60));
    let [earlier, _] = edge.refuse_user("ann", now, 60 * minute);
    edge.restrict(std::slice::from_ref(&earlier), now).await;
    let [shorter, _] = edge.refuse_user("ann", now - 2 * minute, minute);
    assert!(shorter.value > earlier.value, "also if the clock has gone back");
    edge.replace(std::slice::from_ref(&shorter));
    assert!(edge.disconnected.refused_for("ann", Instant::now()).is_none());
    assert!(edge.unstored(&[], now).await.is_empty(), "nothing that has ended is missing");
    assert_eq!(edge.unstored(std::slice::from_ref(&earlier), now).await, ["refused:ann"]);
    assert_eq!(edge.record("refused:ann", now), Some(shorter));
    edge.restrict(&[earlier], now).await;
    assert!(edge.disconnected.refused_for("ann", Instant::now()).is_none());
}

/// Also a decision that this process makes about another connection.
#[actix_web::test]
async fn a_connection_that_ends_does_not_shorten_the_time() {
    let (edge, now, minute) = (edge(), SystemTime::now(), Duration::from_secs(60));
    let left = || edge.disconnected.refused_for("ann", Instant::now()).map_or(0, |left| left.as_secs().div_ceil(60));
    let first = edge.refuse_at_least("ann", now, 30 * minute);
    edge.restrict(&[first], now).await;
    let second = edge.refuse_at_least("ann", now, minute);
    assert_eq!(second.expires_ms, milliseconds(now + 30 * minute), "the bus has one of them");
    edge.restrict(&[second], now).await;
    assert_eq!(left(), 30);
    edge.restrict(&edge.refuse_user("ann", now, minute), now).await;
    assert_eq!(left(), 1);
    let third = edge.refuse_at_least("ann", now, 2 * minute);
    edge.restrict(&[third], now).await;
    assert_eq!(left(), 2);
}

/// A connection is ended for an hour, and then its user is admitted again: a process that starts afterwards admits it, too.
#[actix_web::test]
async fn a_refusal_that_was_shortened_does_not_return_with_another_process() {
    let (before, now, minute) = (edge(), SystemTime::now(), Duration::from_secs(60));
    let first = before.refuse_at_least("ann", now, 60 * minute);
    before.restrict(std::slice::from_ref(&first), now).await;
    let [user, connection] = before.refuse_user("ann", now, minute);
    before.restrict(&[user.clone(), connection.clone()], now).await;
    assert_eq!((&connection.name, connection.value > first.value), (&first.name, true), "the bus keeps this one");
    // A bus that has gone back to an earlier copy has the first one, and gets this one again.
    assert_eq!(before.unstored(std::slice::from_ref(&first), now).await, [first.name.as_str(), &user.name]);
    assert_eq!(before.record(&first.name, now).as_ref(), Some(&connection));
    let later = now + 2 * minute;
    for stored in [[first.clone(), user.clone()], [user, first]] {
        let after = edge();
        after.restore(&stored, later);
        assert!(
            after.disconnected.refused_for("ann", Instant::now()).is_none(),
            "Redis keeps what has ended for a day"
        );
    }
}

/// Their values were whether connections end.
#[actix_web::test]
async fn records_of_earlier_versions_apply_until_there_is_a_newer_one() {
    let (edge, now, hour) = (edge(), SystemTime::now(), Duration::from_secs(3_600));
    let of = |value, hours| refusal("ann", Kind::User, value, milliseconds(now + hours * hour));
    let left = || edge.disconnected.refused_for("ann", Instant::now()).map_or(0, |left| left.as_secs().div_ceil(3_600));
    edge.restore(&[of(OF_CONNECTION, 3), of(OF_USER, 2)], now);
    assert_eq!(left(), 3);
    edge.restore(&edge.refuse_user("ann", now, hour), now);
    edge.restore(&[of(OF_CONNECTION, 3), of(OF_USER, 2)], now);
    assert_eq!(left(), 1);
}

#[test]
fn a_revocation_is_the_same_after_it_was_stored() {
    let expires = UNIX_EPOCH + Duration::from_millis(1_900_000_000_123);
    for issued_before in [None, Some(1_763_800_000.0), Some(1_763_800_000.123), Some(1_700_000_000.5)] {
        for tokens in [Revoked::User("a:b".into()), Revoked::Jti("t1".into())] {
            let revocation = Revocation { tokens: tokens.clone(), issued_before, expires };
            assert_eq!(Revocation::of(tokens, &revocation.record()), revocation);
        }
    }
}
