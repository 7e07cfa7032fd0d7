//! Tables in virtual time: one alone, and several whose notices are late, lost, or never sent again.

use proptest::prelude::*;

use super::*;

fn room(n: usize) -> ChannelName {
    format!("chat.{n}").parse().unwrap()
}

fn name(n: usize) -> Arc<str> {
    format!("n{n}").into()
}

/// What the clients of rooms receive at a tick: the number of members and their names.
fn notified(table: &mut Table, now: Instant) -> Vec<(String, usize, Option<String>)> {
    let mut notified: Vec<_> =
        table.tick(now).notify.into_iter().map(|(room, present)| shown(&room, &present)).collect();
    notified.sort();
    notified
}

fn shown(room: &str, present: &Present) -> (String, usize, Option<String>) {
    (room.to_owned(), present.count, present.members.as_ref().map(|names| names.join(" ")))
}

fn one(count: usize, names: &str) -> Vec<(String, usize, Option<String>)> {
    vec![(room(1).to_string(), count, Some(names.to_owned()))]
}

#[test]
fn a_room_gets_one_notification_for_several_changes() {
    let (mut table, mut now) = (Table::default(), Instant::now());
    let mut notified = |table: &mut Table| {
        now += PERIOD;
        notified(table, now)
    };
    assert_eq!(notified(&mut table), []);
    table.enter(&room(1), &name(2));
    table.enter(&room(1), &name(1));
    table.enter(&room(1), &name(1));
    assert_eq!(notified(&mut table), one(3, "n1 n1 n2"));
    assert_eq!(notified(&mut table), []);
    table.rename(&room(1), "n1", &name(3));
    table.leave(&room(1), "n2");
    assert_eq!(notified(&mut table), one(2, "n1 n3"));
    // No client is left to notify, and nothing is left of the room.
    table.leave(&room(1), "n1");
    table.leave(&room(1), "n3");
    assert_eq!(notified(&mut table), []);
    assert!(table.here.is_empty() && table.to_notify.is_empty());
}

#[test]
fn more_than_a_hundred_are_a_number() {
    let mut table = Table::default();
    for n in 0..MAX_NAMES {
        table.enter(&room(1), &name(n));
    }
    assert_eq!(table.present(&room(1)).members.map(|names| names.len()), Some(MAX_NAMES));
    table.enter(&room(1), &name(MAX_NAMES));
    assert_eq!(table.present(&room(1)), Present { count: MAX_NAMES + 1, members: None });
    table.leave(&room(1), "n0");
    assert_eq!(table.present(&room(1)).members.map(|names| names.len()), Some(MAX_NAMES));
}

#[test]
fn a_large_room_is_notified_less_often() {
    let (mut table, start) = (Table::default(), Instant::now());
    for n in 0..3 * MEMBERS_A_PERIOD {
        table.enter(&room(1), &name(n));
    }
    table.enter(&room(2), &name(0));
    let mut ticks = Vec::new();
    for second in 0..9 {
        table.enter(&room(1), &name(0));
        table.enter(&room(2), &name(0));
        let rooms = notified(&mut table, start + PERIOD * second).into_iter().map(|(room, ..)| room);
        ticks.extend(rooms.filter(|notified| *notified == room(1).to_string()).map(|_| second));
    }
    assert_eq!(ticks, [0, 4, 8]);
}

const ME: Replica = Replica(1);
const OTHER: Replica = Replica(2);

fn parts(number: u64, is_first: bool, is_last: bool, parts: &[(usize, usize)]) -> What {
    let part = |(at, count): &(usize, usize)| Part {
        room: room(*at),
        count: *count,
        names: Some((0..*count).map(|n| name(10 * at + n)).collect()),
    };
    What::Parts { number, is_first, is_last, parts: parts.iter().map(part).collect() }
}

fn hear(table: &mut Table, what: What, now: Instant) {
    table.hear(Notice { from: OTHER, what }, ME, now);
}

#[test]
fn another_replica_comes_changes_and_falls_silent() {
    let (mut table, start) = (Table::default(), Instant::now());
    table.enter(&room(1), &name(1));
    let at = |seconds| start + PERIOD * seconds;
    assert_eq!(notified(&mut table, at(0)), one(1, "n1"));
    // Rooms without members here are known, but nobody is notified of them.
    hear(&mut table, parts(1, true, true, &[(1, 2), (2, 1)]), at(0));
    assert_eq!(notified(&mut table, at(1)), one(3, "n1 n10 n11"));
    assert_eq!(table.present(&room(2)).count, 1);
    hear(&mut table, parts(2, false, false, &[(1, 1)]), at(1));
    assert_eq!(notified(&mut table, at(2)), one(2, "n1 n10"));
    // The same again is no change.
    hear(&mut table, parts(3, false, false, &[(1, 1)]), at(2));
    assert_eq!(notified(&mut table, at(3)), []);
    // A whole state replaces the previous one: rooms that it does not name are empty.
    hear(&mut table, parts(4, true, false, &[(3, 1)]), at(3));
    assert_eq!(table.present(&room(1)).count, 2, "not before its whole state has arrived");
    hear(&mut table, parts(5, false, true, &[(1, 2)]), at(3));
    assert_eq!(notified(&mut table, at(4)), one(3, "n1 n10 n11"));
    assert_eq!((table.present(&room(2)).count, table.present(&room(3)).count), (0, 1));
    for second in 5..8 {
        hear(&mut table, What::Beat { number: 5 }, at(second));
        assert_eq!(notified(&mut table, at(second)), []);
    }
    assert_eq!(notified(&mut table, at(7) + SILENCE - Duration::from_millis(1)), []);
    assert_eq!(notified(&mut table, at(7) + SILENCE), one(1, "n1"));
    assert!(table.others.is_empty());
}

#[test]
fn a_replica_that_stops_is_removed_immediately() {
    let (mut table, now) = (Table::default(), Instant::now());
    table.enter(&room(1), &name(1));
    hear(&mut table, parts(1, true, true, &[(1, 2)]), now);
    assert_eq!(notified(&mut table, now), one(3, "n1 n10 n11"));
    hear(&mut table, What::Bye, now);
    assert_eq!(notified(&mut table, now + PERIOD), one(1, "n1"));
}

#[test]
fn missed_notices_are_requested_again() {
    let (mut table, now) = (Table::default(), Instant::now());
    let asks = |table: &mut Table| table.tick(now).send.contains(&What::Ask { of: OTHER });
    hear(&mut table, What::Beat { number: 7 }, now);
    assert!(asks(&mut table), "never heard of before");
    hear(&mut table, parts(8, false, false, &[(1, 1)]), now);
    assert_eq!(table.present(&room(1)).count, 0);
    assert!(asks(&mut table), "still");
    hear(&mut table, parts(9, true, true, &[(1, 1)]), now);
    assert!(!asks(&mut table));
    hear(&mut table, What::Beat { number: 9 }, now);
    assert!(!asks(&mut table));
    hear(&mut table, What::Beat { number: 10 }, now);
    assert!(asks(&mut table), "one notice was lost");
    assert_eq!(table.present(&room(1)).count, 1, "what is known stays meanwhile");
}

#[test]
fn new_and_asking_replicas_get_the_whole_state() {
    let now = Instant::now();
    for what in [What::Hello, What::Ask { of: ME }] {
        let mut table = Table::default();
        table.enter(&room(1), &name(1));
        assert_eq!(table.tick(now).send.len(), 2, "hello, and its part");
        hear(&mut table, parts(1, true, true, &[]), now);
        assert_eq!(table.tick(now).send, []);
        hear(&mut table, what, now);
        let part = Part { room: room(1), count: 1, names: Some(vec![name(1)]) };
        let all = What::Parts { number: 2, is_first: true, is_last: true, parts: vec![part] };
        assert_eq!(table.tick(now).send, [all]);
    }
    let mut table = Table::default();
    let _ = table.tick(now);
    hear(&mut table, What::Ask { of: Replica(3) }, now);
    let has_parts = table.tick(now).send.iter().any(|what| matches!(what, What::Parts { .. }));
    assert!(!has_parts, "others are asked");
}

#[test]
fn notices_read_as_they_are_written() {
    for what in [
        What::Hello,
        What::Ask { of: OTHER },
        parts(7, true, false, &[(1, 2)]),
        parts(8, false, false, &[]),
        What::Beat { number: 8 },
        What::Bye,
    ] {
        let notice = Notice { from: ME, what };
        let json = serde_json::to_value(&notice).unwrap();
        assert_eq!(serde_json::from_value::<Notice>(json).unwrap(), notice);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, usize, usize),
    Leave(usize, usize),
    Rename(usize, usize, usize),
    /// A replica does what is due, and which of the others hear of it.
    Tick(usize, Vec<bool>),
    /// A replica begins anew, with nobody.
    Restart(usize),
}

const REPLICAS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..REPLICAS, 0..3_usize, 0..4_usize).prop_map(|(at, room, name)| Step::Enter(at, room, name)),
        3 => (0..REPLICAS, 0..9_usize).prop_map(|(at, who)| Step::Leave(at, who)),
        1 => (0..REPLICAS, 0..9_usize, 0..4_usize).prop_map(|(at, who, name)| Step::Rename(at, who, name)),
        4 => (0..REPLICAS, proptest::collection::vec(any::<bool>(), REPLICAS)).prop_map(|(at, hear)| Step::Tick(at, hear)),
        1 => (0..REPLICAS).prop_map(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A replica, its members (room and name of each), and the last presence that its clients received.
struct Site {
    replica: Replica,
    table: Table,
    members: Vec<(usize, usize)>,
    notified: HashMap<ChannelName, Present>,
}

fn tick(sites: &mut [Site], at: usize, hears: &[bool], now: Instant) {
    let due = sites[at].table.tick(now);
    sites[at].notified.extend(due.notify);
    let from = sites[at].replica;
    for what in due.send {
        for (site, _) in sites.iter_mut().zip(hears).filter(|(_, hears)| **hears) {
            let me = site.replica;
            site.table.hear(Notice { from, what: what.clone() }, me, now);
        }
    }
}

proptest! {
    /// Whatever was lost: once notices arrive again, all replicas show the same presence, and have sent it to their clients.
    #[test]
    fn in_the_end_everybody_is_shown_everywhere(steps in steps()) {
        let mut now = Instant::now();
        let site = |n: usize| Site {
            replica: Replica(u32::try_from(n).unwrap()),
            table: Table::default(),
            members: Vec::new(),
            notified: HashMap::new(),
        };
        let mut sites: Vec<Site> = (0..REPLICAS).map(site).collect();
        let mut started = REPLICAS;
        for step in steps {
            match step {
                Step::Enter(at, to, who) => {
                    sites[at].members.push((to, who));
                    sites[at].table.enter(&room(to), &name(who));
                }
                Step::Leave(at, who) => {
                    let Site { members, table, .. } = &mut sites[at];
                    if who < members.len() {
                        let (from, who) = members.swap_remove(who);
                        table.leave(&room(from), &name(who));
                    }
                }
                Step::Rename(at, who, new) => {
                    let Site { members, table, .. } = &mut sites[at];
                    if let Some((at, who)) = members.get_mut(who) {
                        table.rename(&room(*at), &name(*who), &name(new));
                        *who = new;
                    }
                }
                Step::Tick(at, hears) => {
                    now += PERIOD / 2;
                    tick(&mut sites, at, &hears, now);
                }
                Step::Restart(at) => {
                    sites[at] = site(started);
                    started += 1;
                }
            }
        }
        for _ in 0..10 {
            now += PERIOD;
            for at in 0..REPLICAS {
                tick(&mut sites, at, &[true; REPLICAS], now);
            }
        }
        let all: Vec<(usize, usize)> = sites.iter().flat_map(|site| site.members.clone()).collect();
        for n in 0..3 {
            let mut names: Vec<_> = all.iter().filter(|(room, _)| *room == n).map(|(_, who)| name(*who)).collect();
            names.sort();
            let present = Present { count: names.len(), members: Some(names) };
            for site in &sites {
                prop_assert_eq!(&site.table.present(&room(n)), &present);
                if site.members.iter().any(|(room, _)| *room == n) {
                    prop_assert_eq!(site.notified.get(&room(n)), Some(&present));
                }
            }
        }
        // And there is nothing left to say but that one lives.
        for site in &mut sites {
            now += PERIOD;
            let is_beat = |what: &What| matches!(what, What::Beat { .. });
            let send = site.table.tick(now).send;
            prop_assert!(send.iter().all(is_beat), "{:?}", send);
        }
    }
}
