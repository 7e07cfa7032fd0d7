//! Data of the application that belongs to a socket: values, JSON that other servers see, and sources.

use std::{
    any::{Any, TypeId},
    sync::Arc,
};

use serde::Serialize;

use super::{Phase, Socket};
use crate::{SocketData, Source, SourceId};

impl Socket {
    /// Stores a value with the socket, one of each type. Returns the previous one.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let mut state = self.state();
        let new: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let old = match state.extensions.iter_mut().find(|(id, _)| *id == key) {
            Some((_, slot)) => Some(std::mem::replace(slot, new)),
            None => {
                state.extensions.reserve_exact(1);
                state.extensions.push((key, new));
                None
            }
        };
        drop(state);
        old.and_then(|old| old.downcast().ok())
    }

    /// The stored value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let found = self.state().extensions.iter().find(|(id, _)| *id == key).map(|(_, value)| value.clone());
        found.and_then(|value| value.downcast().ok())
    }

    /// Removes and returns the value of this type.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let mut state = self.state();
        let at = state.extensions.iter().position(|(id, _)| *id == key)?;
        let (_, value) = state.extensions.swap_remove(at);
        drop(state);
        value.downcast().ok()
    }

    /// JSON that other servers see in [`fetch_sockets`](crate::BroadcastOperator::fetch_sockets), and that recovery restores. Initially
    /// null.
    ///
    /// ```no_run
    /// # fn example(socket: &socketio::Socket) -> Result<(), serde_json::Error> {
    /// socket.set_data(&("Mei", 7))?;
    /// let (name, points): (String, u32) = socket.data().read()?;
    /// # Ok(()) }
    /// ```
    pub fn data(&self) -> SocketData {
        self.state().data.clone()
    }

    /// Sets [`data`](Self::data).
    ///
    /// # Errors
    /// When the value cannot be serialized; the data is then unchanged.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), serde_json::Error> {
        let new = SocketData::of(data)?;
        let old = std::mem::replace(&mut self.state().data, new);
        drop(old);
        Ok(())
    }

    /// Attaches a source of packets that are pulled when the client can take more. It is dropped with the socket.
    ///
    /// If it is attached in the first step of a handler of [`on_connect`](crate::Namespace::on_connect), it precedes every event to the
    /// socket.
    pub fn attach(&self, source: impl Source + 'static) -> SourceId {
        // Only a client that can resume a session knows offsets.
        let party = self.0.pid.is_some().then(|| self.0.namespace.local().party());
        let id = self.0.connection.attach_boxed(party, Box::new(source));
        let mut state = self.state();
        if state.phase == Phase::Disconnected {
            drop(state);
            self.0.connection.detach(id);
        } else {
            let mut sources = std::mem::take(&mut state.sources).into_vec();
            sources.reserve_exact(1);
            sources.push(id);
            state.sources = sources.into_boxed_slice();
        }
        id
    }

    /// Detaches a source.
    pub fn detach(&self, source: SourceId) {
        {
            let mut state = self.state();
            let sources = std::mem::take(&mut state.sources).into_iter();
            state.sources = sources.filter(|id| *id != source).collect();
        }
        self.0.connection.detach(source);
    }
}
