//! Random clients that poll, compared with the list of everything that was published.

use proptest::prelude::*;

use super::*;

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        channels: Vec<usize>,
        bytes: usize,
    },
    /// A client that waits for nothing asks for what is after its cursor; with a field, or with the next request at once.
    Ask {
        poller: usize,
        wait: u64,
        is_page: bool,
    },
    Leave {
        poller: usize,
    },
    Run {
        turns: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channels = || proptest::collection::vec(0..2_usize, 1..5);
    let bytes = prop_oneof![6 => 0..50_usize, 1 => 500..3_000_usize];
    let step = prop_oneof![
        6 => (channels(), bytes).prop_map(|(channels, bytes)| Step::Publish { channels, bytes }),
        8 => (0..6_usize, prop_oneof![Just(3_600_000_u64), 1..20_u64], any::<bool>())
            .prop_map(|(poller, wait, is_page)| Step::Ask { poller, wait, is_page }),
        1 => (0..6_usize).prop_map(|poller| Step::Leave { poller }),
        5 => (0..8_usize).prop_map(|turns| Step::Run { turns }),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A client with a cursor, and what it has read.
struct Model {
    poller: Poller,
    channels: Vec<usize>,
    at: Cursor,
    waits: bool,
}

impl Model {
    async fn connect(stage: &Stage, n: usize) -> Self {
        let channels = if n.is_multiple_of(3) { vec![0, 1] } else { vec![n % 2] };
        Self { poller: Poller::connect(stage).await, channels, at: Cursor::new(START, 0), waits: false }
    }

    /// Compares an answer with what was published: it has what follows the cursor, in order, and nothing else.
    fn check(&mut self, answer: &Answer, published: &[(Cursor, usize, usize)], is_dropped: impl Fn(Cursor) -> bool) {
        self.waits = false;
        if answer.status == 204 {
            return;
        }
        let (first, lines) = answer.body.split_once('\n').unwrap();
        let (cursor, is_gap) = first.split_once(' ').unwrap();
        let cursor: Cursor = cursor.parse().unwrap();
        let mut wanted: Vec<_> = published
            .iter()
            .filter(|(id, of, _)| *id > self.at && *id <= cursor && self.channels.contains(of))
            .collect();
        let numbers: Vec<usize> =
            lines.lines().map(|line| line.trim_matches(['"', 'x', ' ']).parse().unwrap()).collect();
        if is_gap == "true" {
            // Of each channel, the oldest ones.
            wanted.retain(|(id, _, number)| numbers.contains(number) || !is_dropped(*id));
        }
        assert_eq!(wanted.iter().map(|(.., number)| *number).collect::<Vec<_>>(), numbers, "{}", answer.body);
        self.at = cursor;
    }
}

async fn run(steps: Vec<Step>, retention: Retention) {
    let stage = Stage::new(retention).await;
    let (mut published, mut models, mut clock): (Vec<(Cursor, usize, usize)>, Vec<Model>, u64) = (vec![], vec![], 1);
    for n in 0..6 {
        models.push(Model::connect(&stage, n).await);
    }
    let is_dropped = |published: &[(Cursor, usize, usize)], id: Cursor| {
        let of = published.iter().find(|(known, ..)| *known == id).map(|(_, of, _)| *of);
        let newer = published.iter().filter(|other| Some(other.1) == of && other.0 > id).count();
        retention.count.is_some_and(|count| newer >= count)
    };
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
            Step::Ask { poller, wait, is_page } => {
                let model = &mut models[poller];
                if model.waits {
                    if let Ok(read) = model.poller.client.socket.try_read_buf(&mut model.poller.client.text) {
                        assert_ne!(read, 0);
                    }
                    let Some(answer) = model.poller.arrived() else { continue };
                    model.check(&answer, &published, |id| is_dropped(&published, id));
                }
                let channels: Vec<_> = model.channels.iter().map(ToString::to_string).collect();
                let query = format!("{}&since={}&wait={wait}", channels.join("&"), model.at);
                model.poller.ask(&query, if is_page { "Origin: http://localhost:1\r\n" } else { "" }).await;
                model.waits = true;
            }
            Step::Leave { poller } => models[poller] = Model::connect(&stage, poller).await,
            Step::Run { turns } => {
                for _ in 0..turns {
                    yield_now().await;
                }
            }
        }
    }
    stage.log.close();
    for model in &mut models {
        if model.waits {
            let answer = model.poller.answer().await;
            model.check(&answer, &published, |id| is_dropped(&published, id));
        }
        // All that it had not asked for is still there.
        loop {
            let channels: Vec<_> = model.channels.iter().map(ToString::to_string).collect();
            model.poller.ask(&format!("{}&since={}&wait=1", channels.join("&"), model.at), "").await;
            let answer = model.poller.answer().await;
            model.check(&answer, &published, |id| is_dropped(&published, id));
            if answer.status == 204 {
                break;
            }
        }
        let newest = published.iter().rev().find(|(_, of, _)| model.channels.contains(of));
        assert!(newest.is_none_or(|(id, ..)| *id <= model.at), "lost, after {}", model.at);
    }
    drop(models);
    stage.until("all to end", |stage| stage.edge.sockets.figures().0 == 0).await;
    assert_eq!((stage.parked(), stage.log.counts().subscriptions), ((0, 0), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn polls_lose_and_repeat_nothing(
        steps in steps(),
        count in proptest::option::weighted(0.3, 1..12_usize),
    ) {
        let retention = Retention { count, ..Retention::default() };
        rt::System::new().block_on(run(steps, retention));
    }
}
