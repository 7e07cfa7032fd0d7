//! Random members of cohorts against a plain model: the list of everything that was published.

use proptest::prelude::*;

use super::*;

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// Publishes to channels, in one batch.
    Publish { channels: Vec<usize>, bytes: usize },
    /// A client opens a stream or a tunnel of these channels; it has little room, or its token expires after some milliseconds.
    Join { channels: Vec<usize>, kind: Kind, is_slow: bool, end: Option<u64> },
    /// A client sends something: on a tunnel, it is repeated, or is nothing but an answer.
    Say { client: usize, is_answer: bool },
    /// A client reads what has arrived, up to a number of bytes.
    Read { client: usize, most: usize },
    /// A client leaves.
    Leave { client: usize },
    /// The worker runs for a number of turns.
    Run { turns: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A stream in chunks.
    Stream,
    /// The same with keep-alives.
    Beating,
    /// A stream that its connection ends.
    Old,
    Tunnel,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channels = || proptest::collection::vec(0..2_usize, 1..3);
    let bytes = prop_oneof![6 => 0..200_usize, 2 => 5_000..60_000_usize];
    let step = prop_oneof![
        8 => (channels(), bytes).prop_map(|(channels, bytes)| Step::Publish { channels, bytes }),
        4 => (
            channels(),
            prop_oneof![2 => Just(Kind::Stream), 1 => Just(Kind::Beating), 1 => Just(Kind::Old), 3 => Just(Kind::Tunnel)],
            proptest::bool::weighted(0.4),
            proptest::option::weighted(0.2, 1..60_u64),
        )
            .prop_map(|(channels, kind, is_slow, end)| Step::Join { channels, kind, is_slow, end }),
        3 => (0..8_usize, any::<bool>()).prop_map(|(client, is_answer)| Step::Say { client, is_answer }),
        6 => (0..8_usize, 1..200_000_usize).prop_map(|(client, most)| Step::Read { client, most }),
        1 => (0..8_usize).prop_map(|client| Step::Leave { client }),
        6 => (0..8_usize).prop_map(|turns| Step::Run { turns }),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A message that was published: its id, its channel, its number.
type Published = (Cursor, usize, usize);

struct Member {
    client: Client,
    channels: Vec<usize>,
    is_tunnel: bool,
    has_end: bool,
    beats: bool,
    /// What it has sent, except for answers.
    said: String,
}

impl Member {
    /// Compares what the client got with what was published: nothing is lost, repeated, or out of order. Of each channel, what was dropped may be
    /// missing between a gap and the next message.
    fn check(&self, published: &[Published], is_dropped: impl Fn(&Published) -> bool) {
        let (body, has_ended) = self.client.body();
        let mut lines = body.lines();
        let opening = lines.next().unwrap_or_else(|| panic!("no opening: {}", self.client.text()));
        let mut at: Cursor = opening.strip_prefix('O').unwrap().parse().unwrap();
        let (mut is_closed, mut repeated, mut has_gap) = (false, String::new(), [false; 2]);
        let expected = |after: Cursor, has_gap: [bool; 2]| {
            let mut wanted = published.iter().filter(|(id, of, _)| *id > after && self.channels.contains(of));
            wanted.find(|message| !has_gap[message.1] || !is_dropped(message)).copied()
        };
        for line in lines {
            assert!(!is_closed, "{line} after the end");
            if let Some(gap) = line.strip_prefix('G') {
                let (requested, resumed) = gap.split_once(' ').unwrap();
                assert_eq!(requested.parse(), Ok(at));
                let of_ours = |message: &&Published| message.0 > at && self.channels.contains(&message.1);
                assert!(published.iter().filter(of_ours).any(&is_dropped), "nothing was dropped");
                (at, has_gap) = (resumed.parse().unwrap(), [true; 2]);
            } else if line == "K" {
                assert!(self.beats);
            } else if line == "C" {
                is_closed = true;
            } else if let Some(said) = line.strip_prefix('R') {
                repeated.extend(said.chars().filter(|c| *c != '.'));
            } else {
                let number: usize = line.trim_matches(['"', 'x', ' ']).parse().unwrap();
                let id = published[number].0;
                assert!(id > at, "{number} is repeated, or out of order");
                assert!(self.channels.contains(&published[number].1), "{number} is of another channel");
                let next = expected(at, has_gap);
                assert!(next.is_none_or(|next| next.0 >= id), "{next:?} is lost, before {number}");
                at = id;
                has_gap[published[number].1] = false;
            }
        }
        assert!((has_ended || self.client.is_plain) && is_closed, "it does not end: {body:.200}");
        assert!(self.said.starts_with(&repeated), "{repeated:?} is not what was said: {:?}", self.said);
        if !self.has_end {
            assert_eq!(expected(at, has_gap), None, "lost, after {at}");
        }
    }
}

async fn run(steps: Vec<Step>, retention: Retention) {
    let stage = Stage::new(retention).await;
    let (mut published, mut members, mut clock): (Vec<Published>, Vec<Member>, u64) = (Vec::new(), Vec::new(), 1);
    for step in steps {
        match step {
            Step::Publish { channels, bytes } => {
                clock += 1;
                let first = published.len();
                let draft = |(n, of): (usize, &usize)| {
                    let text = format!("{} {}", first + n, "x".repeat(bytes));
                    Draft::new(channel(&of.to_string()), Payload::from_text(&text))
                };
                let ids = stage.log.append(channels.iter().enumerate().map(draft).collect(), START + clock);
                published.extend(ids.iter().zip(&channels).enumerate().map(|(n, (id, of))| (*id, *of, first + n)));
            }
            Step::Join { mut channels, kind, is_slow, end } if members.len() < 8 => {
                channels.sort_unstable();
                channels.dedup();
                let mut query: Vec<_> = channels.iter().map(ToString::to_string).collect();
                query.extend(end.map(|end| format!("end={end}")));
                let beats = kind == Kind::Beating;
                query.extend(beats.then(|| "beat=5".to_owned()));
                let (query, room) = (query.join("&"), is_slow.then_some(4 * 1024));
                let client = match kind {
                    Kind::Tunnel => stage.connect_tunnel(&query, room).await,
                    Kind::Old => stage.connect(&query, "1.0", room).await,
                    Kind::Stream | Kind::Beating => stage.connect(&query, "1.1", room).await,
                };
                let (is_tunnel, has_end) = (kind == Kind::Tunnel, end.is_some());
                members.push(Member { client, channels, is_tunnel, has_end, beats, said: String::new() });
            }
            Step::Say { client, is_answer } => {
                // Whoever sends something after its end loses what it has not read.
                if let Some(member) = members.get_mut(client).filter(|one| one.is_tunnel && !one.has_end) {
                    let said = if is_answer { ".".to_owned() } else { format!("{};", member.said.len()) };
                    if member.client.socket.try_write(said.as_bytes()).is_ok() && !is_answer {
                        member.said.push_str(&said);
                    }
                }
            }
            Step::Read { client, most } => {
                if let Some(member) = members.get_mut(client) {
                    let mut room = vec![0; most];
                    if let Ok(read) = member.client.socket.try_read(&mut room) {
                        member.client.text.extend_from_slice(&room[..read]);
                    }
                }
            }
            Step::Leave { client } if client < members.len() => drop(members.swap_remove(client)),
            Step::Run { turns } => {
                for _ in 0..turns {
                    yield_now().await;
                }
            }
            Step::Join { .. } | Step::Leave { .. } => {}
        }
    }
    stage.log.close();
    let is_dropped = |message: &Published| {
        let newer = published.iter().filter(|other| other.1 == message.1 && other.0 > message.0).count();
        retention.count.is_some_and(|count| newer >= count)
    };
    for member in &mut members {
        member.client.read_to_end().await;
        member.check(&published, is_dropped);
    }
    drop(members);
    stage.until("all connections to end", |stage| stage.edge.limits.connections() == 0).await;
    assert_eq!((stage.parked(), stage.log.counts().subscriptions), ((0, 0), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_repeated_or_out_of_order(
        steps in steps(),
        count in proptest::option::weighted(0.3, 1..12_usize),
    ) {
        let retention = Retention { count, ..Retention::default() };
        rt::System::new().block_on(run(steps, retention));
    }
}
