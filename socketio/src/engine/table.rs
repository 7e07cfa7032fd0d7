//! The open sessions by id, in shards: requests of different sessions seldom wait for one another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Conn, Sid};

const SHARDS: usize = 32;

#[derive(Default)]
pub(super) struct Table {
    shards: [Mutex<HashMap<Sid, Arc<Conn>>>; SHARDS],
}

impl Table {
    fn shard(&self, sid: &Sid) -> std::sync::MutexGuard<'_, HashMap<Sid, Arc<Conn>>> {
        // Ids end in random characters, whatever they begin with.
        let spread = sid.as_str().bytes().rev().take(2).fold(0, |sum, byte| sum * 7 + usize::from(byte));
        self.shards[spread % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, sid: &Sid) -> Option<Arc<Conn>> {
        self.shard(sid).get(sid).cloned()
    }

    pub(super) fn insert(&self, conn: Arc<Conn>) {
        self.shard(&conn.sid).insert(conn.sid, conn);
    }

    pub(super) fn remove(&self, sid: &Sid) -> Option<Arc<Conn>> {
        let mut shard = self.shard(sid);
        let conn = shard.remove(sid);
        if shard.capacity() > 64 && shard.len() * 4 < shard.capacity() {
            shard.shrink_to_fit();
        }
        conn
    }

    pub(super) fn all(&self) -> Vec<Arc<Conn>> {
        self.shards
            .iter()
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().cloned().collect::<Vec<_>>()
            })
            .collect()
    }
}
