//! Handlers that have begun and not ended: bounded for each connection, and ended with their socket.

use std::task::{Context, Poll, Waker};

use actix_web::rt;

use super::{Phase, Socket};
use crate::{DisconnectReason, engine::HandlerBytes, namespace::handler::LocalFuture, panics::guard};

/// Bytes that a pending handler counts for beyond its event.
const HANDLER_COST: usize = 1024;

impl Socket {
    /// Runs a handler: its first step now, so that the handlers of one socket start in the order of its events, and the rest as a task of
    /// this thread that ends with the socket. A panic ends only the handler.
    ///
    /// `bytes` is the size of its event. A connection whose pending handlers use too much memory is ended.
    pub(crate) fn run_handler(&self, mut handler: LocalFuture<()>, bytes: usize) {
        let first = guard("an event handler", || {
            // Whatever it waits for is asked again by the task, with a waker that wakes.
            handler.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        if let Some(Poll::Pending) = first {
            self.keep_running(handler, bytes + HANDLER_COST);
        }
    }

    fn keep_running(&self, handler: LocalFuture<()>, bytes: usize) {
        let Some(held) = self.0.connection.count_for_handler(bytes) else {
            self.0.namespace.counters().handler_overflows.inc();
            log::debug!("{}: too many handlers are pending", self.0.id);
            return self.0.connection.finish(DisconnectReason::HandlerOverflow);
        };
        let mut state = self.state();
        if state.phase == Phase::Disconnected {
            // Outside of the lock: a handler may own any value.
            drop(state);
            return drop(handler);
        }
        let tasks = state.tasks.get_or_insert_default();
        tasks.next_id = tasks.next_id.wrapping_add(1);
        let id = tasks.next_id;
        let running = Running { socket: self.clone(), id, _held: held };
        let task = rt::spawn(async move {
            let _running = running;
            handler.await;
        });
        tasks.running.insert(id, task.abort_handle());
    }

    /// Ends the handlers that have not ended. Each is dropped by its own thread.
    pub(super) fn end_handlers(&self) {
        let tasks = self.state().tasks.take();
        for (_, task) in tasks.into_iter().flat_map(|tasks| tasks.running) {
            task.abort();
        }
    }
}

/// The handlers of a socket that are pending.
#[derive(Default)]
pub(super) struct Tasks {
    next_id: u64,
    running: std::collections::HashMap<u64, tokio::task::AbortHandle>,
}

/// A handler that has not ended.
struct Running {
    socket: Socket,
    id: u64,
    _held: HandlerBytes,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.socket.state();
        if let Some(tasks) = &mut state.tasks {
            tasks.running.remove(&self.id);
            state.tasks.take_if(|tasks| tasks.running.is_empty());
        }
    }
}
