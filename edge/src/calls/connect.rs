//! Asks the application who a client is that opens a connection.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use actix_web::http::header::{self, HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::value::RawValue;

use outgoing::PostError;

use super::{Calls, identified::ConnectAnswer, recent::Credential};
use crate::{Access, ApiError, Edge, auth::Identity, metrics::Transport, settings::CallKind};

/// A connection that a client opens, as far as its request shows.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// How it is opened.
    pub transport: Transport,
    /// The Socket.IO namespace.
    pub namespace: Option<&'a str>,
    /// The headers of the request.
    pub headers: &'a HeaderMap,
    /// Socket.IO's `auth`.
    pub auth: Option<&'a RawValue>,
}

/// A call `connect` that is to be made.
#[derive(Debug)]
pub struct ConnectCall {
    edge: Edge,
    access: Access,
    facts: Facts,
    /// An invalid token that the client sent intentionally.
    fault: Option<ApiError>,
    /// Whether an answer of the last minute applies.
    polls: bool,
}

/// What the application gets to know about a client.
#[derive(Debug, Serialize)]
struct Facts {
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    address: IpAddr,
    /// The user of a valid token.
    user: Option<Arc<str>>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    facts: &'a Facts,
}

impl ConnectCall {
    /// The call for a client with `access`, which its token gives it. `None` if the application is not asked: then the token decides.
    /// A token with `trident.api` is a server's, and is not asked about.
    #[must_use]
    pub fn new<'a>(edge: &Edge, access: &Access, opening: impl FnOnce() -> Opening<'a>) -> Option<Self> {
        if !edge.calls.asks(CallKind::Connect) || access.is_backend() {
            return None;
        }
        let Opening { transport, namespace, headers, auth } = opening();
        let facts = Facts {
            transport: transport.name(),
            namespace: namespace.map(ToOwned::to_owned),
            address: access.address(),
            user: access.user(),
            headers: passed_on(edge, headers),
            auth: auth.map(ToOwned::to_owned),
        };
        let fault = access.require_no_bad_bearer(headers).err();
        let polls = matches!(transport, Transport::Poll | Transport::LongPoll);
        Some(Self { edge: edge.clone(), access: access.clone(), facts, fault, polls })
    }

    /// The client as the application identifies it. Whether its user may open connections is not checked.
    ///
    /// # Errors
    /// 401 for an invalid token in `Authorization`, 403 `refused` with the application's reason, 503 `backend_unavailable`.
    pub async fn access(self) -> Result<Access, ApiError> {
        let Self { edge, access, facts, fault, polls } = self;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let deadline = Instant::now() + edge.calls.settings().timeout;
        let client = access.identity();
        let ask = async || ask(&edge.calls, &facts, &client, deadline).await;
        if polls {
            let (recent, credential) = (&edge.calls.0.connects, facts.credential()?);
            let late = || edge.calls.failed(CallKind::Connect, &PostError::Deadline.into());
            let answer = recent.get((credential, &client), deadline, ask).await.ok_or_else(late)??;
            let admitted = admitted(&edge, &access, &answer)?;
            if admitted.require_current(SystemTime::now()).is_ok() {
                return Ok(admitted);
            }
            // It was right when it was given.
            recent.forget(credential, &answer);
        }
        let answer = ask().await?;
        let client = admitted(&edge, &access, &answer)?;
        client.require_current(SystemTime::now())?;
        Ok(client)
    }
}

fn admitted(edge: &Edge, access: &Access, answer: &ConnectAnswer) -> Result<Access, ApiError> {
    match answer {
        ConnectAnswer::Admitted(identified) => Ok(access.clone().identified(identified)),
        ConnectAnswer::Refused(reason) => {
            edge.metrics.refusals.backend_refused.inc();
            Err(ApiError::forbidden("refused", reason))
        }
    }
}

async fn ask(calls: &Calls, facts: &Facts, client: &Identity, deadline: Instant) -> Result<ConnectAnswer, ApiError> {
    let asking = calls.begin(CallKind::Connect, client, facts.size());
    let asking = asking.ok_or_else(|| ApiError::internal("no call is configured"))??.by(deadline);
    let request = Request { id: asking.id(), kind: asking.kind(), facts };
    let request = serde_json::to_vec(&request).map_err(ApiError::internal)?;
    Ok(asking.send(request, |json| ConnectAnswer::read(json, SystemTime::now())).await?)
}

/// The headers that the application gets: cookies, and those of the settings. Cookies of a page of an origin that is not allowed are not a
/// statement of the user, and are not passed on.
fn passed_on(edge: &Edge, headers: &HeaderMap) -> BTreeMap<String, String> {
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let is_ours = origin.is_none_or(|origin| edge.settings.origins.allow_credentials(origin, headers));
    let named = edge.settings.backend.calls.headers.iter().filter(|name| **name != header::COOKIE);
    let cookie: Option<&HeaderName> = is_ours.then_some(&header::COOKIE);
    let mut passed = BTreeMap::new();
    for name in cookie.into_iter().chain(named) {
        let separator = if *name == header::COOKIE { "; " } else { ", " };
        let values: Vec<_> = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if !values.is_empty() {
            passed.insert(name.as_str().to_owned(), values.join(separator));
        }
    }
    passed
}

impl Facts {
    /// About the size of the request.
    fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        headers.sum::<usize>() + self.auth.as_ref().map_or(0, |auth| auth.get().len())
    }

    /// The credential of a client that polls: all that the application gets. A token that becomes invalid changes it by its user.
    fn credential(&self) -> Result<Credential, ApiError> {
        let facts = serde_json::to_vec(self).map_err(ApiError::internal)?;
        Ok(Credential::of([&*facts]))
    }
}
