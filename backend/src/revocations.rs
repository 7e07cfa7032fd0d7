//! Revoking tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{HttpResponse, http::header};
use edge::{
    ApiError,
    auth::{MAX_USER_BYTES, Revocation, Revoked, TooManyRevocations, seconds, to_seconds},
    service::Service,
};
use serde::{Deserialize, Serialize};

use crate::{
    replicas::{self, Obeyed, Question},
    request::ApiRequest,
    written::{Write, written},
};

/// How long a revocation is kept, unless the request says so.
const DEFAULT_KEPT: Duration = Duration::from_secs(30 * 86_400);
const MAX_KEPT: Duration = Duration::from_secs(366 * 86_400);
const SHAPE: &str = "the body is {\"user\": text} or {\"jti\": text}, with \"issued_before\" and \"expires\" as seconds since 1970 if needed";

/// Which tokens to revoke.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevocationRequest {
    /// Those of this user: their `sub`.
    user: Option<String>,
    /// The one with this `jti`. Either this or `user`.
    jti: Option<String>,
    /// Those that were issued before this time (`iat`), in seconds since the Unix epoch. Default: now for a user, and whenever it was issued
    /// for a `jti`. A token without `iat` counts as older, and so does one whose `iat` is in the future, while it is.
    issued_before: Option<f64>,
    /// When the revocation may be forgotten, in seconds since the Unix epoch. Default: in 30 days; at most in a year.
    expires: Option<f64>,
}

/// The revocation.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Added {
    /// In seconds since the Unix epoch. If the request has none, the next whole second: tokens of the user that are issued from then on are
    /// valid. Absent if the token is revoked whenever it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<f64>,
    /// In seconds since the Unix epoch.
    expires: f64,
    /// The number of connections that were ended.
    ended: usize,
    /// Processes that did not answer within 2 s: they may not know the revocation before they reconnect to the bus.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
}

/// `POST /v1/revocations`.
pub(crate) async fn add(service: &Service, request: &ApiRequest, body: &[u8]) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let asked: RevocationRequest =
        serde_json::from_slice(body).map_err(|error| ApiError::invalid("bad_body", format!("{error}; {SHAPE}")))?;
    let tokens = match (asked.user, asked.jti) {
        (Some(user), None) => Revoked::User(user),
        (None, Some(id)) => Revoked::Jti(id),
        _ => return Err(ApiError::invalid("bad_body", format!("name either a `user` or a `jti`; {SHAPE}"))),
    };
    let (Revoked::User(text) | Revoked::Jti(text)) = &tokens;
    if text.len() > MAX_USER_BYTES {
        let message = format!("`user` and `jti` have at most {MAX_USER_BYTES} bytes, as a token has to contain them");
        return Err(ApiError::invalid("bad_body", message));
    }
    let now = SystemTime::now();
    let given = asked.issued_before.map(|given| time("issued_before", given)).transpose()?;
    // Nobody else has the id, so that no later token has to be valid.
    let issued_before = given.or_else(|| matches!(tokens, Revoked::User(_)).then(|| seconds(now)));
    if given.is_some_and(|given| given > seconds(now)) {
        return Err(ApiError::invalid(
            "bad_time",
            "`issued_before` is in the future: tokens that are not issued yet cannot be revoked",
        ));
    }
    let expires = match asked.expires {
        None => now + DEFAULT_KEPT,
        Some(given) => UNIX_EPOCH + Duration::from_secs_f64(time("expires", given)?),
    };
    if expires <= now || expires > now + MAX_KEPT {
        return Err(ApiError::invalid(
            "bad_time",
            "`expires` is between now and a year from now, in seconds since 1970",
        ));
    }
    // Others know the whole of it from this record alone.
    let revocation = service.edge.revocations.merged(Revocation { tokens: tokens.clone(), issued_before, expires });
    let records = vec![revocation.record()];
    let own = replicas::restrict(service, replicas::records(&records)).await;
    if own.rejected > 0 {
        return Err(ApiError::unavailable("too_many_revocations", TooManyRevocations));
    }
    let is_stored = service.bus.store(records.clone()).await;
    let question = Question::Restrict { records: replicas::records(&records) };
    let others = replicas::ask::<Obeyed>(service, &question).await;
    let Obeyed { ended, rejected } = own.and(&others.answers);
    let what = match &tokens {
        Revoked::User(user) => Write::RevokedUser { user, ended },
        Revoked::Jti(jti) => Write::RevokedToken { jti, ended },
    };
    written(service, &request.access, &what);
    if let Err(error) = is_stored {
        service.edge.metrics.refusals.bus_unavailable.inc();
        let message = format!("this process refuses the tokens, but one that starts now does not: {error}");
        return Err(ApiError::unavailable("bus_unavailable", message));
    }
    if rejected > 0 {
        let message = format!("{rejected} of the processes have no room for it: {TooManyRevocations}");
        return Err(ApiError::unavailable("too_many_revocations", message));
    }
    // Most issuers write whole seconds, so that in this second an older token and a new one have the same `iat`: both are revoked.
    let issued_before = given.or_else(|| issued_before.map(f64::ceil));
    let added = Added { issued_before, expires: seconds(expires), ended, incomplete: others.incomplete };
    Ok(HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(&added))
}

/// A time in seconds.
fn time(name: &str, given: f64) -> Result<f64, ApiError> {
    if !(0.0..=1e14).contains(&given) {
        return Err(ApiError::invalid("bad_time", format!("`{name}` is a number of seconds since 1970")));
    }
    Ok(to_seconds(given))
}
