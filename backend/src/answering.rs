//! The answers of this process to the questions of [others](crate::replicas).

use std::sync::Arc;

use bytes::Bytes;
use edge::service::Service;
use tokio::sync::Semaphore;

use crate::{
    channels, connections, presence,
    replicas::{self, Question},
    stats,
};

/// Maximum number of questions that this process answers at a time. Others wait, and a bounded number of them.
const MAX_ANSWERS: usize = 16;

/// Answers the questions of other processes, for as long as the bus is open.
pub fn serve(service: &Service) {
    let Some(mut questions) = service.bus.questions() else { return };
    let (service, room) = (service.clone(), Arc::new(Semaphore::new(MAX_ANSWERS)));
    actix_web::rt::spawn(async move {
        while let Some(question) = questions.recv().await {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let service = service.clone();
            actix_web::rt::spawn(async move {
                let answer = answer(&service, question.text()).await;
                question.answer(answer);
                drop(permit);
            });
        }
    });
}

async fn answer(service: &Service, question: &[u8]) -> Bytes {
    let answer = match serde_json::from_slice(question) {
        Ok(Question::Channels(wanted)) => serde_json::to_vec(&channels::here(service, &wanted).await),
        Ok(Question::Readers { channels }) => serde_json::to_vec(&channels::readers(service, &channels).await),
        Ok(Question::Presence(wanted)) => serde_json::to_vec(&presence::here(service, &wanted).await),
        Ok(Question::Connections(wanted)) => serde_json::to_vec(&connections::here(service, &wanted).await),
        Ok(Question::Find { id }) => serde_json::to_vec(&replicas::find(service, &id)),
        Ok(Question::End { id, records }) => serde_json::to_vec(&replicas::end(service, &id, records).await),
        Ok(Question::Restrict { records }) => serde_json::to_vec(&replicas::restrict(service, records).await),
        Ok(Question::Subscriptions { request }) => return subscriptions(service, request).await,
        Ok(Question::Stats) => serde_json::to_vec(&stats::here(service)),
        // Of a later version: an answer that the asker does not understand either, so that it does not wait.
        Err(_) => Ok(Vec::new()),
    };
    answer.unwrap_or_default().into()
}

/// The answer of this process, if it has them; otherwise an empty one.
async fn subscriptions(service: &Service, request: String) -> Bytes {
    service.edge.subscriptions.ask(request.into()).await.unwrap_or_default()
}
