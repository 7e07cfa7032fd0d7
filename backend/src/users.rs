//! Messages to one user.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use edge::{
    ApiError, publish,
    routes::{Resource, response, response_ready, segment},
    service::Service,
};
use shared::pure::{ChannelName, access::ApiRight};

use crate::{
    request::authorize,
    written::{Write, written},
};

/// `POST /v1/users/{user}/messages`: publishes to the channel of the user, which it may read over any connection.
pub(crate) fn resource(service: &Service) -> Resource {
    let service = service.clone();
    Resource::default().post(move |parts, body| {
        let access = authorize(&service, parts, ApiRight::Write);
        let channel = segment(parts.path, 2).map(|user: Cow<'_, str>| ChannelName::of_user(&user));
        match (access, channel) {
            (Ok((access, slot)), Ok(channel)) => {
                let published = publish::to_channel(&service, access.clone(), channel.clone(), parts, body);
                let service = service.clone();
                response(async move {
                    let (answer, _slot) = (published.await, slot);
                    if answer.status() == StatusCode::CREATED {
                        written(&service, &access, &Write::Published { channel: &channel });
                    }
                    Ok(answer)
                })
            }
            (Err(error), _) | (_, Err(error)) => response_ready(Err::<_, ApiError>(error)),
        }
    })
}
