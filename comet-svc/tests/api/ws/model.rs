//! Random clients against a plain model: the list of everything that was published.

use actix_web::rt;
use edge::testing::until;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::pure::Cursor;

use super::{CLOSE, Client, PING, PONG, TEXT, subscribe};
use crate::site;

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// Publishes to a channel.
    Publish { channel: usize, bytes: usize },
    /// A client connects, to the first of these channels or the first two. It has little room, or not.
    Join { channels: usize, is_slow: bool },
    /// A client sends a ping, or a pong that nobody asked for.
    Talk { client: usize, is_ping: bool },
    /// A client subscribes to the third channel.
    Subscribe { client: usize },
    /// A client reads until it has been sent the answer to a ping.
    Read { client: usize },
    /// A client leaves.
    Leave { client: usize },
}

const CHANNELS: [&str; 3] = ["public.0", "public.1", "public.2"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![6 => 0..200_usize, 3 => 3_000..60_000_usize];
    let step = prop_oneof![
        8 => (0..3_usize, bytes).prop_map(|(channel, bytes)| Step::Publish { channel, bytes }),
        4 => (1..3_usize, any::<bool>()).prop_map(|(channels, is_slow)| Step::Join { channels, is_slow }),
        4 => (0..6_usize, any::<bool>()).prop_map(|(client, is_ping)| Step::Talk { client, is_ping }),
        1 => (0..6_usize).prop_map(|client| Step::Subscribe { client }),
        2 => (0..6_usize).prop_map(|client| Step::Read { client }),
        1 => (0..6_usize).prop_map(|client| Step::Leave { client }),
    ];
    proptest::collection::vec(step, 1..60)
}

struct Member {
    client: Client,
    /// The position after which it is sent the messages of each channel, if it reads that.
    after: [Option<Cursor>; 3],
    has_asked: bool,
    pings: usize,
    pongs: usize,
    received: Vec<Cursor>,
}

impl Member {
    /// Reads a frame; false at the close frame.
    async fn read(&mut self) -> bool {
        let (first, data) = self.client.frame().await;
        match first {
            TEXT => self.hear(&serde_json::from_slice(&data).unwrap()),
            PONG => {
                assert_eq!(data, self.pongs.to_string().into_bytes(), "pings are answered in their order");
                self.pongs += 1;
            }
            _ => {
                assert_eq!((first, &data[..2]), (CLOSE, &1012_u16.to_be_bytes()[..]), "{data:?}");
                return false;
            }
        }
        true
    }

    fn hear(&mut self, value: &Value) {
        if value["ok"] == json!(true) {
            self.after[2] = Some(value["cursor"].as_str().unwrap().parse().unwrap());
        } else {
            self.received.push(value["id"].as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap());
        }
    }
}

async fn run(steps: Vec<Step>) {
    let site = site(&[]);
    let (mut published, mut members): (Vec<(Cursor, usize)>, Vec<Member>) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Publish { channel, bytes } => {
                let id = site.publish(CHANNELS[channel], format!("\"{}\"", "x".repeat(bytes))).await;
                published.push((id, channel));
            }
            Step::Join { channels, is_slow } if members.len() < 6 => {
                let query = format!("?channel={}", CHANNELS[..channels].join("&channel="));
                let client =
                    if is_slow { Client::open_small(&site, &query).await } else { Client::open(&site, &query).await };
                let from = Some(site.service.log().head());
                let after = [from, from.filter(|_| channels == 2), None];
                let (pings, pongs, received) = (0, 0, Vec::new());
                members.push(Member { client, after, has_asked: false, pings, pongs, received });
            }
            Step::Talk { client, is_ping } => {
                if let Some(member) = members.get_mut(client) {
                    if is_ping {
                        member.client.send(PING, member.pings.to_string()).await;
                        member.pings += 1;
                    } else {
                        member.client.send(PONG, "").await;
                    }
                }
            }
            Step::Subscribe { client } => {
                if let Some(member) = members.get_mut(client).filter(|member| !member.has_asked) {
                    member.client.command(subscribe(&[CHANNELS[2]], None)).await;
                    member.has_asked = true;
                }
            }
            Step::Read { client } => {
                if let Some(member) = members.get_mut(client) {
                    while member.pongs < member.pings {
                        assert!(member.read().await);
                    }
                }
            }
            Step::Leave { client } if client < members.len() => drop(members.swap_remove(client)),
            Step::Join { .. } | Step::Leave { .. } => {}
        }
    }
    for member in &mut members {
        // An answer is there before the end.
        while member.pongs < member.pings || member.has_asked && member.after[2].is_none() {
            assert!(member.read().await);
        }
    }
    let limits = site.service.edge.limits.clone();
    let stop = rt::spawn(site.stop());
    for member in &mut members {
        while member.read().await {}
        let expected = published.iter().filter(|(id, of)| member.after[*of].is_some_and(|after| *id > after));
        let expected: Vec<Cursor> = expected.map(|(id, _)| *id).collect();
        assert_eq!(member.received, expected, "nothing is lost, repeated, or out of order");
    }
    drop(members);
    stop.await.unwrap();
    until("all slots are free", || limits.connections() == 0).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn clients_get_everything_once_and_in_order(steps in steps()) {
        rt::System::new().block_on(run(steps));
    }
}
