//! Calls the application with events, those of one socket one after the other.

use std::{sync::Arc, task::Poll};

use actix_web::rt;
use edge::{
    Access,
    calls::{Asking, BACKEND_UNAVAILABLE, CallFailed},
    service::Service,
    settings::CallKind,
};
use futures_util::poll;
use socketio::{Ack, Event, Socket, socket::packet::Payload};
use tokio::{sync::Mutex, time::timeout_at};

use super::{answer::EventAnswer, request, rooms::RoomNames};
use crate::{refusal::Refusal, reply};

/// Answers events with calls. Clones share it.
#[derive(Clone)]
pub(crate) struct Application {
    service: Service,
    rooms: RoomNames,
}

/// The turn of a socket's calls.
#[derive(Default)]
struct Turns(Arc<Mutex<()>>);

impl Application {
    pub(crate) fn new(service: &Service, rooms: RoomNames) -> Self {
        Self { service: service.clone(), rooms }
    }

    /// Calls the application with an event, and acks what it answers. Returns when the event is answered.
    pub(crate) async fn answer(&self, socket: &Socket, access: &Access, event: &Event, ack: &Ack) {
        let asking = match self.begin(access, event) {
            Ok(asking) => asking,
            Err(refusal) => return reply::refuse(ack, refusal),
        };
        let args = match request::args(event.payload(), self.service.edge.settings.max_body) {
            Ok(args) => args,
            Err(refusal) => return reply::refuse(ack, refusal),
        };
        // The first poll takes the place in the queue. This is the first step of the handler, and those run in the order of arrival.
        let mut turn = Box::pin(turns(socket).lock_owned());
        let first = poll!(turn.as_mut());
        let (application, socket, access) = (self.clone(), socket.clone(), access.clone());
        let (name, ack) = (event.name().into_owned(), ack.clone());
        // The application may have done its part when the process shuts down.
        let work = self.service.edge.drain.work();
        let running = rt::spawn(async move {
            let _work = work;
            let _turn = match first {
                Poll::Ready(turn) => turn,
                Poll::Pending => match timeout_at(asking.deadline().into(), turn).await {
                    Ok(turn) => turn,
                    Err(_) => return reply::refuse(&ack, asking.late().into()),
                },
            };
            match application.call(asking, &socket, &access, &name, &args).await {
                Ok(args) => ack.send_payload(args),
                Err(refusal) => reply::refuse(&ack, refusal),
            }
        });
        // Not ended with the socket, but while that exists, the event counts as pending.
        let _ = running.await;
    }

    fn begin(&self, access: &Access, event: &Event) -> Result<Asking, Refusal> {
        let asking = self.service.edge.calls.begin(CallKind::Event, &access.identity(), event.payload().len());
        Ok(asking.ok_or_else(|| no_backend(self.rooms))??)
    }

    async fn call(
        &self,
        asking: Asking,
        socket: &Socket,
        access: &Access,
        event: &str,
        args: &str,
    ) -> Result<Payload, Refusal> {
        let request = request::encode(&asking, socket, access, event, args, self.rooms)?;
        let answer = asking.send(request, |json| EventAnswer::read(json, self.rooms)).await?;
        answer.apply(&self.service, socket).await
    }
}

impl From<CallFailed> for Refusal {
    fn from(failed: CallFailed) -> Self {
        Self::new(BACKEND_UNAVAILABLE, failed)
    }
}

fn no_backend(rooms: RoomNames) -> Refusal {
    let message = "no application answers this event: that needs TRIDENT_CALL_URL, and `event` in TRIDENT_CALLS";
    match rooms {
        RoomNames::Chat => Refusal::new(
            "no_backend",
            format!(
                "{message}; the chat supports `chat message`, `join`, `history`, `leave`, `name`, `typing`, `subscribe` and `unsubscribe`"
            ),
        ),
        RoomNames::Plain => Refusal::new("no_backend", message),
    }
}

fn turns(socket: &Socket) -> Arc<Mutex<()>> {
    if let Some(turns) = socket.get::<Turns>() {
        return turns.0.clone();
    }
    let turns = Turns::default();
    let queue = turns.0.clone();
    socket.insert(turns);
    queue
}
