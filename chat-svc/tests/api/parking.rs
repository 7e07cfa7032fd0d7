//! Connections over WebSocket that wait: they are parked, and nothing of it is to be seen.

use edge::{
    connections::End,
    testing::{Site, until},
};
use proptest::prelude::*;
use serde_json::json;

use crate::{client::Client, site};

/// Runs a test whose future is too large for the stack of its thread while nothing is optimized.
fn on_the_heap<F: Future<Output = ()>>(test: F) -> std::pin::Pin<Box<F>> {
    Box::pin(test)
}

/// How often a connection left because of what is not its client's doing.
async fn left(site: &Site) -> u64 {
    let mut left = 0;
    for reason in ["slow", "behind", "ended"] {
        left += site.figure(&format!("trident_unparked_total{{reason=\"{reason}\"}}")).await;
    }
    left
}

/// A client in the room `tea` only, with the events of its entry heard.
async fn in_tea(site: &Site) -> Client {
    let mut client = Client::connect(site).await;
    for event in [r#""join","tea""#, r#""leave","lobby""#] {
        assert_eq!(client.asks(event).await["ok"], true);
    }
    client
}

#[actix_web::test]
async fn messages_and_what_others_send_reach_a_client_where_it_is_parked() {
    on_the_heap(async {
        let site = site(&[("TRIDENT_PING_INTERVAL", "150ms")]);
        let (mut mei, mut ana) = (in_tea(&site).await, in_tea(&site).await);
        site.parked(2).await;
        let received = "trident_unparked_total{reason=\"received\"}";
        let before = (left(&site).await, site.figure(received).await);
        // A message of the log, what others send, and a ping.
        for n in 0..3 {
            site.parked(2).await;
            site.publish_as("chat.tea", "chat message", json!(n).to_string()).await;
            assert_eq!(
                (&mei.hears("chat message").await[0], &ana.hears("chat message").await[0]),
                (&json!(n), &json!(n))
            );
            assert_eq!(ana.asks(r#""typing",true"#).await["ok"], true);
            assert_eq!(mei.hears("typing").await[0]["typing"], true);
        }
        assert_eq!((mei.ping().await, ana.ping().await, mei.ping().await), ((), (), ()));
        site.parked(2).await;
        // Only what Ana said, three times, has ended the parking of a connection.
        assert_eq!((left(&site).await, site.figure(received).await), (before.0, before.1 + 3));
    })
    .await;
}

#[actix_web::test]
async fn a_client_that_was_parked_changes_its_channels_and_is_recovered() {
    on_the_heap(async {
        let site = site(&[]);
        let mut mei = in_tea(&site).await;
        site.parked(1).await;
        assert_eq!(mei.asks(r#""subscribe",{"channels":["public.news"]}"#).await["ok"], true);
        site.parked(1).await;
        site.publish("public.news", "1").await;
        assert_eq!(mei.hears("message").await[0], json!(1));
        assert_eq!(mei.asks(r#""unsubscribe",{"channels":["public.news"]}"#).await["ok"], true);
        site.parked(1).await;
        site.publish("public.news", "2").await;
        site.publish_as("chat.tea", "chat message", "3".to_owned()).await;
        assert_eq!(mei.hears("chat message").await[0], json!(3));
        // It is recovered from the offset of an event that it got while it was parked.
        let sid = mei.sid.clone();
        let mut mei = mei.reconnect(&site).await;
        assert_eq!(mei.sid, sid);
        site.publish_as("chat.tea", "chat message", "4".to_owned()).await;
        assert_eq!(mei.hears("chat message").await[0], json!(4));
        drop(mei);
        until("it is gone", || site.service.edge.limits.connections() == 0).await;
    })
    .await;
}

#[actix_web::test]
async fn a_parked_client_that_a_backend_disconnects_is_told() {
    let site = site(&[]);
    let mut client = in_tea(&site).await;
    site.parked(1).await;
    assert_eq!(site.service.edge.limits.registry().end_all(End::Disconnected, |_| true).await, 1);
    assert_eq!(client.text().await, "41");
    until("it is gone", || site.service.edge.limits.connections() == 0).await;
    site.parked(0).await;
}

#[derive(Clone, Debug)]
enum Step {
    /// Publishes to a channel; long messages are not for all at a time.
    Publish {
        channel: usize,
        is_long: bool,
    },
    Subscribe {
        client: usize,
        channel: usize,
    },
    Unsubscribe {
        client: usize,
        channel: usize,
    },
    /// Something that is answered.
    Ask {
        client: usize,
    },
    /// Others are told.
    Tell {
        client: usize,
    },
    /// The client loses its connection and resumes its session.
    Reconnect {
        client: usize,
    },
    /// Another one takes its place.
    Leave {
        client: usize,
    },
    /// The client reads what it has got so far of a channel.
    Read {
        client: usize,
    },
    /// All that can be parked is.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        8 => (0..2_usize, prop::bool::weighted(0.1)).prop_map(|(channel, is_long)| Step::Publish { channel, is_long }),
        3 => (client(), 0..2_usize).prop_map(|(client, channel)| Step::Subscribe { client, channel }),
        1 => (client(), 0..2_usize).prop_map(|(client, channel)| Step::Unsubscribe { client, channel }),
        1 => client().prop_map(|client| Step::Ask { client }),
        2 => client().prop_map(|client| Step::Tell { client }),
        1 => client().prop_map(|client| Step::Reconnect { client }),
        1 => client().prop_map(|client| Step::Leave { client }),
        2 => client().prop_map(|client| Step::Read { client }),
        3 => Just(Step::Wait),
    ]
}

const CLIENTS: usize = 3;
const CHANNELS: [&str; 2] = ["public.a", "public.b"];

/// A client, and what it has to get of the list of everything published.
struct Reader {
    client: Client,
    subscribed: [bool; 2],
    owed: Vec<usize>,
}

impl Reader {
    async fn new(site: &Site) -> Self {
        Self { client: in_tea(site).await, subscribed: [false; 2], owed: Vec::new() }
    }

    /// Reads what it is owed, which comes in order, once, and is nothing else.
    async fn read(&mut self) {
        for expected in std::mem::take(&mut self.owed) {
            let message = self.client.hears("message").await;
            let number = message[0].as_u64().or_else(|| message[0][0].as_u64());
            assert_eq!(number, Some(expected as u64));
        }
    }

    async fn asks(&mut self, event: &str) {
        assert_eq!(self.client.asks(event).await["ok"], true, "{event}");
    }
}

async fn run(steps: Vec<Step>) {
    let site = site(&[]);
    let mut readers = Vec::new();
    for _ in 0..CLIENTS {
        readers.push(Reader::new(&site).await);
    }
    let mut count = 0;
    for step in steps {
        match step {
            Step::Publish { channel, is_long } => {
                let data = if is_long { json!([count, "x".repeat(100_000)]) } else { json!(count) };
                site.publish(CHANNELS[channel], data.to_string()).await;
                readers.iter_mut().filter(|reader| reader.subscribed[channel]).for_each(|one| one.owed.push(count));
                count += 1;
            }
            Step::Subscribe { client, channel } => {
                let event = json!({ "channels": [CHANNELS[channel]] });
                readers[client].asks(&format!(r#""subscribe",{event}"#)).await;
                readers[client].subscribed[channel] = true;
            }
            Step::Unsubscribe { client, channel } => {
                // Everything before is delivered, so that it is known what is.
                readers[client].read().await;
                let event = json!({ "channels": [CHANNELS[channel]] });
                readers[client].asks(&format!(r#""unsubscribe",{event}"#)).await;
                readers[client].subscribed[channel] = false;
            }
            Step::Ask { client } => readers[client].asks(r#""history",{"limit":1}"#).await,
            Step::Tell { client } => readers[client].asks(r#""typing",true"#).await,
            Step::Reconnect { client } => {
                // It has an offset only then.
                readers[client].read().await;
                let Reader { client: old, subscribed, owed } = readers.remove(client);
                let sid = old.sid.clone();
                let reader = Reader { client: old.reconnect(&site).await, subscribed, owed };
                assert_eq!(reader.client.sid, sid);
                readers.insert(client, reader);
            }
            Step::Leave { client } => readers[client] = Reader::new(&site).await,
            Step::Read { client } => readers[client].read().await,
            Step::Wait => site.parked(CLIENTS as u64).await,
        }
    }
    for reader in &mut readers {
        reader.read().await;
    }
}

/// Whatever clients do while others are parked, each gets what was published to its channels, in order, once.
#[test]
fn random_clients_get_what_a_list_has() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 6, ..ProptestConfig::default() });
    let steps = prop::collection::vec(step(), 1..40);
    runner
        .run(&steps, |steps| {
            actix_web::rt::System::new().block_on(Box::pin(run(steps)));
            Ok(())
        })
        .unwrap();
}
