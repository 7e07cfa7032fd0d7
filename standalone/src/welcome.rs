//! What is said at the start: where to look, what is open, and a line to publish with.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use shared::edge::{
    Settings,
    auth::{TokenRequest, mint},
    settings::Secret,
};

const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// The text, for a process with these settings, whose key it made itself if it is given.
pub(crate) fn text(settings: &Settings, own_key: Option<&Secret>) -> io::Result<String> {
    let url = url(settings.listen);
    let mut text = format!(
        "Trident {version}\n\
         \n\
         \x20 {url}/            the three ways side by side\n\
         \x20 {url}/data        comet\n\
         \x20 {url}/socket.io/  Socket.IO\n\
         \x20 {url}/events      server-sent events\n\
         \n\
         Open to everybody: {public}\n",
        version = crate::DEFAULTS.version,
        public = settings.public,
    );
    // A string takes all that is written to it.
    let _ = match own_key {
        Some(secret) => {
            let everything = || "*".parse().map_err(io::Error::other);
            let request = TokenRequest {
                publish: everything()?,
                subscribe: everything()?,
                ttl: A_DAY,
                subject: Some("operator".to_owned()),
                audience: settings.audience.clone(),
            };
            let token = mint(secret, &request, SystemTime::now()).map_err(io::Error::other)?;
            write!(
                text,
                "No key for tokens is configured, so this process made one that it takes along when it ends.\n\
                 Publish, for a day from now:\n\
                 \n\
                 \x20 curl '{url}/events?channel=public.hello' -H 'Content-Type: text/plain' -d 'Hello' \\\n\
                 \x20   -H 'Authorization: Bearer {token}'\n\n"
            )
        }
        None => write!(text, "Publishing takes a token; `standalone token --help` says how to make one.\n\n"),
    };
    Ok(text)
}

/// Where a browser on this machine finds what listens at `address`.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_every_address_is_shown_as_localhost() {
        assert_eq!(url(([0, 0, 0, 0], 8080).into()), "http://localhost:8080");
        assert_eq!(url(([127, 0, 0, 2], 81).into()), "http://127.0.0.2:81");
    }
}
