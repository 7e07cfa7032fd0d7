//! Questions to all other servers, and orders to all servers.
//!
//! ```text
//! count the servers ─▶ open a question ─▶ publish ─▶ gather one answer of each; recount now and then: who has gone owes none
//! expect the echo ─▶ publish ─▶ this server hears itself, and does what it ordered as all others do
//! ```

use std::{sync::Arc, time::Duration};

use socketio::adapter::{AdapterError, Local};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::{
    RedisAdapter,
    cluster::unavailable,
    node::Node,
    questions::{Question, deadline},
    wire::{WireError, response::Response},
};

/// How often the number of servers is checked while answers are awaited.
const RECOUNT: Duration = Duration::from_millis(500);

impl RedisAdapter {
    pub(crate) fn node(&self, local: &Local) -> Result<Arc<Node>, AdapterError> {
        let node = self.cluster.node(local.name());
        node.ok_or_else(|| AdapterError(format!("the adapter has not opened the namespace {}", local.name())))
    }

    /// The number of servers that subscribe to requests, including this one.
    async fn count(&self, node: &Node) -> Result<usize, AdapterError> {
        let mut connection = self.cluster.connection()?;
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(&node.channels.request);
        let counted: Result<(String, usize), _> = command.query_async(&mut connection).await;
        counted.map(|(_, count)| count).map_err(|error| unavailable(&error.to_string()))
    }

    /// Waits until this server receives answers, and its own messages.
    async fn listening(&self, node: &Node) -> Result<(), AdapterError> {
        self.cluster.connection()?;
        let patience = deadline(self.cluster.config.request_timeout);
        match timeout_at(patience, node.is_subscribed()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(unavailable("the namespace is not subscribed to")),
        }
    }

    /// The number of other servers.
    pub(crate) async fn others(&self, node: &Node) -> Result<usize, AdapterError> {
        self.listening(node).await?;
        Ok(self.count(node).await?.saturating_sub(1))
    }

    /// Asks all other servers, and collects one answer of each.
    pub(crate) async fn ask(&self, local: &Local, id: &str, question: Vec<u8>) -> Result<Vec<Response>, AdapterError> {
        let node = self.node(local)?;
        let others = self.others(&node).await?;
        if others == 0 {
            return Ok(Vec::new());
        }
        let mut open = self.cluster.questions.ask(id);
        self.cluster.publish(node.channels.request.clone(), question)?.wait().await?;
        let until = deadline(self.cluster.config.request_timeout);
        let (answers, missing) = self.gather(&node, &mut open, others, until).await?;
        match missing {
            0 => Ok(answers),
            _ => Err(AdapterError(format!("{missing} of {others} other servers did not answer in time"))),
        }
    }

    /// Collects answers until each of `others` has sent one; also returns the number of missing ones. A server that leaves in the meantime
    /// is not waited for.
    pub(crate) async fn gather(
        &self,
        node: &Node,
        open: &mut Question<'_>,
        mut others: usize,
        until: Instant,
    ) -> Result<(Vec<Response>, usize), AdapterError> {
        let mut answers = Vec::new();
        let mut recount = interval(RECOUNT);
        recount.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recount.reset();
        while answers.len() < others {
            tokio::select! {
                answer = open.answers.recv() => {
                    answers.push(answer.ok_or_else(|| unavailable("the connection to Redis was lost before all servers answered"))?);
                }
                _ = recount.tick() => {
                    others = others.min(self.count(node).await?.saturating_sub(1));
                }
                () = tokio::time::sleep_until(until) => break,
            }
        }
        let missing = others.saturating_sub(answers.len());
        Ok((answers, missing))
    }

    /// Sends a command to all servers, including this one, and waits until it has been carried out here.
    pub(crate) async fn order(
        &self,
        local: &Local,
        id: &str,
        order: Result<Vec<u8>, WireError>,
        carry_out: impl FnOnce(),
    ) -> Result<(), AdapterError> {
        match self.try_order(local, id, order).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // The sockets of this server do not depend on Redis.
                carry_out();
                Err(error)
            }
        }
    }

    async fn try_order(&self, local: &Local, id: &str, order: Result<Vec<u8>, WireError>) -> Result<(), AdapterError> {
        let node = self.node(local)?;
        self.listening(&node).await?;
        let mut echo = self.cluster.questions.expect_echo(id);
        self.cluster.publish(node.channels.request.clone(), order?)?.wait().await?;
        let until = deadline(self.cluster.config.request_timeout);
        match timeout_at(until, echo.answers.recv()).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(unavailable("the connection to Redis was lost before the request was confirmed")),
            Err(_) => Err(unavailable("Redis did not confirm the request in time")),
        }
    }
}
