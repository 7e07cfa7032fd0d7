//! Work beside the writer: on a thread of its own, or when the owner of a [stepped bus](super::stepped) lets it run.

use std::{
    fmt, io,
    thread::{self, JoinHandle},
};

/// How work is begun.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tasks {
    /// Each on a thread.
    Threads,
    /// It waits until it is run.
    Stepped,
}

/// Work that was begun.
pub(super) enum Task<T> {
    Thread(JoinHandle<T>),
    /// `None` while it runs.
    Waiting(Option<Box<dyn FnOnce() -> T + Send>>),
    Done(T),
}

impl Tasks {
    /// Begins `run`, on a thread with this name if there are threads.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn begin<T: Send + 'static>(
        self,
        name: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Task<T>> {
        match self {
            Self::Threads => thread::Builder::new().name(name.to_owned()).spawn(run).map(Task::Thread),
            Self::Stepped => Ok(Task::Waiting(Some(Box::new(run)))),
        }
    }
}

impl<T> Task<T> {
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Thread(thread) => thread.is_finished(),
            Self::Waiting(_) => false,
            Self::Done(_) => true,
        }
    }

    /// Runs it now, if it waits for that; `false` if it does not.
    pub(super) fn run(&mut self) -> bool {
        let Self::Waiting(waiting) = self else { return false };
        let Some(run) = waiting.take() else { return false };
        *self = Self::Done(run());
        true
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it panicked on its thread.
    pub(super) fn join(self) -> thread::Result<T> {
        match self {
            Self::Thread(thread) => thread.join(),
            Self::Waiting(run) => run.map(|run| run()).ok_or_else(|| Box::new("it panicked") as Box<_>),
            Self::Done(result) => Ok(result),
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_finished", &self.is_finished()).finish()
    }
}
