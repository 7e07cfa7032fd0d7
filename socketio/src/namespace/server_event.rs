//! Events between servers.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{EmitError, Responses, Sending, socket::packet::Payload};

/// The answers of the other servers to an event, once all are in or the adapter has waited long enough. The event has been sent.
#[must_use = "the event has been sent; await this for its answers"]
pub struct ServerResponses<R> {
    sending: Sending<Responses<serde_json::Value>>,
    answer: PhantomData<fn() -> R>,
}

impl<R> ServerResponses<R> {
    pub(crate) fn new(sending: Sending<Responses<serde_json::Value>>) -> Self {
        Self { sending, answer: PhantomData }
    }
}

impl<R: DeserializeOwned> Future for ServerResponses<R> {
    type Output = Result<Responses<R>, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.sending).poll(cx).map(|responses| {
            let Responses { answers, missing } = responses?;
            let asked = answers.len() + missing;
            let answers: Vec<R> =
                answers.into_iter().filter_map(|answer| serde_json::from_value(answer).ok()).collect();
            Ok(Responses { missing: asked - answers.len(), answers })
        })
    }
}

/// An event that another server of the cluster sent to this one. Cloning it is cheap; all clones share the one answer.
///
/// ```
/// use socketio::SocketIo;
///
/// let io = SocketIo::builder().build();
/// io.of("/").on_server_event(|event| match &*event.name() {
///     "reload" => println!("time to look at {:?}", event.args::<String>()),
///     "load" => drop(event.answer(&0.5)),
///     _ => {}
/// });
/// ```
#[derive(Clone)]
pub struct ServerEvent(Arc<Inner>);

type Answer = Box<dyn FnOnce(serde_json::Value) + Send>;

struct Inner {
    payload: Payload,
    wants_answer: bool,
    answer: Mutex<Option<Answer>>,
}

impl ServerEvent {
    /// An event: its name and arguments, `["name", …]`. For adapters.
    pub fn new(payload: Payload) -> Self {
        Self(Arc::new(Inner { payload, wants_answer: false, answer: Mutex::default() }))
    }

    /// An event whose sender waits for an answer, which is given to `answer`. For adapters.
    pub fn with_answer(payload: Payload, answer: impl FnOnce(serde_json::Value) + Send + 'static) -> Self {
        Self(Arc::new(Inner { payload, wants_answer: true, answer: Mutex::new(Some(Box::new(answer))) }))
    }

    /// Its name.
    pub fn name(&self) -> Cow<'_, str> {
        self.0.payload.event_name().unwrap_or_default()
    }

    /// Its arguments: a tuple takes several, `()` none, [`Args`](crate::Args) all, anything else the first.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.0.payload.event_args()
    }

    /// Whether the sender waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.0.wants_answer
    }

    /// Answers with one value. Only the first answer is sent. If the sender did not ask for an answer, it is ignored.
    ///
    /// # Errors
    /// What serde says against it.
    pub fn answer<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), serde_json::Error> {
        let value = serde_json::to_value(value)?;
        let answer = self.0.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(answer) = answer {
            answer(value);
        }
        Ok(())
    }
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvent").field("payload", &self.0.payload).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_however_many_clones() {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let event = {
            let answers = answers.clone();
            let payload = Payload::event("load", &(1, "two")).unwrap();
            ServerEvent::with_answer(payload, move |answer| answers.lock().unwrap().push(answer))
        };
        assert_eq!((event.name().as_ref(), event.wants_answer()), ("load", true));
        assert_eq!(event.args::<(u32, String)>().unwrap(), (1, "two".to_owned()));
        event.clone().answer(&0.5).unwrap();
        event.answer(&0.7).unwrap();
        assert_eq!(*answers.lock().unwrap(), [serde_json::json!(0.5)]);
        let silent = ServerEvent::new(Payload::event("e", &()).unwrap());
        silent.answer(&1).unwrap();
        assert!(!silent.wants_answer());
    }
}
