//! The text printed at the start: addresses, who may read and publish, and a command to publish with.

use std::{
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, SystemTime},
};

use edge::{
    Settings,
    auth::{TokenRequest, mint},
    settings::{BusAddress, Secret},
};

use crate::program;

const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// The text, for a process with these settings that listens at `address`; `own_key` is its temporary key, if it has one.
pub(crate) fn text(settings: &Settings, address: SocketAddr, own_key: Option<&Secret>) -> io::Result<String> {
    let url = url(address);
    let mut text = format!(
        "Trident {version}\n\
         \n\
         \x20 {url}/            playground: transports side by side\n\
         \x20 {url}/events      server-sent events\n\
         \x20 {url}/socket.io/  Socket.IO\n\
         \x20 {url}/ws          WebSocket\n\
         \x20 {url}/data        comet: polling, long polling, HTTP streaming\n\
         \x20 {url}/streams/    Durable Streams\n\
         \x20 {url}/admin       processes, channels and connections\n\
         \x20 {url}/api         reference of the HTTP interface; /openapi.json for programs\n\
         \n",
        version = crate::DEFAULTS.version,
    );
    // Writing to a string never fails.
    let _ = match elsewhere(address) {
        Some(other) => writeln!(text, "From other machines: http://{other}/"),
        None if address.ip().is_loopback() => {
            writeln!(text, "Not reachable from other machines; set TRIDENT_LISTEN=:{} to allow it", address.port())
        }
        None => Ok(()),
    };
    let _ = write!(
        text,
        "Public channels: {public}\n\
         Allowed origins of other pages: {origins}\n\
         Other channels need a token, and so does publishing, except in the chat.\n\n",
        public = settings.public,
        origins = settings.origins,
    );
    if settings.bus == BusAddress::Memory {
        let _ = write!(text, "Messages are kept in memory and lost at the end; --bus file:DIRECTORY keeps them.\n\n");
    }
    let Some(secret) = own_key else {
        let _ = write!(text, "`{} token --help` shows how to create a token.\n\n", program::name());
        return Ok(text);
    };
    let everything = || "*".parse().map_err(io::Error::other);
    let request = TokenRequest {
        publish: everything()?,
        subscribe: everything()?,
        api: Vec::new(),
        ttl: A_DAY,
        subject: Some("operator".to_owned()),
        audience: settings.audience.clone(),
    };
    let token = mint(secret, &request, SystemTime::now()).map_err(io::Error::other)?;
    let _ = write!(
        text,
        "No token key is configured: this process uses a temporary one, which is lost when it exits.\n\
         Publish from the page, with a token that is valid for a day:\n\
         \n\
         \x20 {url}/?channel=public.hello#token={token}\n\
         \n\
         or from a terminal:\n\
         \n\
         \x20 curl '{url}/events?channel=public.hello' -H 'Content-Type: text/plain' -d 'Hello' \\\n\
         \x20   -H 'Authorization: Bearer {token}'\n\
         \n\
         and read it:\n\
         \n\
         \x20 {command} listen {url} --channel public.hello --since earliest\n\n",
        command = program::name(),
    );
    Ok(text)
}

/// The URL of `address` for a browser on this machine.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// The URL of `address` for other machines of the network, if they can reach it.
fn elsewhere(address: SocketAddr) -> Option<SocketAddr> {
    if !address.ip().is_unspecified() {
        return None;
    }
    let is_six = address.is_ipv6();
    let own = own_address(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let own = own.or_else(|| {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        is_six.then(|| own_address(Ipv6Addr::UNSPECIFIED.into(), far.into())).flatten()
    });
    own.map(|ip| SocketAddr::new(ip, address.port()))
}

/// The address that this machine would use to send to `far`, which is one of those reserved for documentation (RFC 5737, RFC 3849). Nothing
/// is sent: connecting a UDP socket only chooses a route.
fn own_address(any: IpAddr, far: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(listen: &str, own_key: Option<&Secret>) -> String {
        let settings = Settings::from_sources(&crate::DEFAULTS, ["--listen", listen], []).unwrap();
        text(&settings, settings.listen, own_key).unwrap()
    }

    #[test]
    fn an_address_that_is_every_address_is_shown_as_localhost() {
        assert_eq!(url(([0, 0, 0, 0], 8080).into()), "http://localhost:8080");
        assert_eq!(url(([127, 0, 0, 2], 81).into()), "http://127.0.0.2:81");
    }

    #[test]
    fn it_says_where_to_look_and_what_is_open() {
        let text = said("127.0.0.1:81", None);
        for part in [
            "http://127.0.0.1:81/events",
            "TRIDENT_LISTEN=:81",
            "Public channels: random,time,chat.*,public.*\n",
            "other pages: http://127.0.0.1:*,http://localhost:*\n",
            "standalone token --help",
            "--bus file:DIRECTORY",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("Authorization"), "no token without a key of its own: {text}");
    }

    /// A machine without a network has no other address.
    #[test]
    fn another_address_is_named_where_there_is_one() {
        let own = own_address(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
        let text = said(":8080", None);
        assert_eq!(text.contains("From other machines: http://"), own.is_some(), "{text}");
        assert!(!text.contains("Not reachable"), "{text}");
    }
}
