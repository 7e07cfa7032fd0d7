//! A service that serves on a free port of loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use actix_web::{http::Method, web::ServiceConfig};
use shared::{
    live::{
        bus::Publication,
        reader::{Limit, Reader},
    },
    pure::{
        Cursor, Draft, Message, Payload, Since,
        access::{ApiRight, Patterns},
    },
};

use super::{Ask, raw, soon};
use crate::{
    Settings,
    auth::{TokenRequest, mint},
    routes::Routes,
    server::{self, Running},
    service::Service,
    settings::ServiceDefaults,
};

/// The key of the tokens of a [`Site`].
pub const SECRET: &str = "a key that is good for tests alone";

/// A service at work, and a client of it.
#[derive(Debug)]
pub struct Site {
    /// The service: its bus, its log, its figures.
    pub service: Service,
    running: Running,
}

impl Site {
    /// Starts `routes` and `application` with `settings`, which are variables of the environment and their values.
    ///
    /// Unless they say otherwise there are no demo channels, two workers, and [`SECRET`] is the key of tokens.
    #[must_use]
    pub fn start<R, A>(defaults: &ServiceDefaults, settings: &[(&str, &str)], routes: R, application: A) -> Self
    where
        R: Fn(&Service) -> Routes + Clone + Send + 'static,
        A: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
    {
        Self::start_with(defaults, settings, |_| (routes, application))
    }

    /// As [`Site::start`], where both are made of the service.
    #[must_use]
    pub fn start_with<R, A>(
        defaults: &ServiceDefaults,
        settings: &[(&str, &str)],
        make: impl FnOnce(&Service) -> (R, A),
    ) -> Self
    where
        R: Fn(&Service) -> Routes + Clone + Send + 'static,
        A: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
    {
        let usual = [("TRIDENT_DEMO", "off"), ("TRIDENT_WORKERS", "2"), ("TRIDENT_SECRET", SECRET)];
        let settings = Settings::from_sources(defaults, [], usual.into_iter().chain(settings.iter().copied())).unwrap();
        let service = Service::open(settings, defaults).unwrap();
        let listener = server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (routes, application) = make(&service);
        let running = service.start(listener, routes, application).unwrap();
        Self { service, running }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// A request that is yet to be sent.
    #[must_use]
    pub fn ask(&self, method: Method, path: &str) -> Ask {
        Ask::new(method, &format!("{}{path}", self.running.url()))
    }

    /// A `GET` that is yet to be sent.
    #[must_use]
    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }

    /// A value of `/metrics`: that of the line that begins with `name` and a space.
    pub async fn figure(&self, name: &str) -> u64 {
        let answer = Box::pin(self.get("/metrics").send()).await;
        let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{name}: {}", answer.text())).parse().unwrap()
    }

    /// Waits until this many connections are parked.
    pub async fn parked(&self, count: u64) {
        let parked = soon("connections to be parked", async {
            while self.figure("trident_parked_connections").await != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Box::pin(parked).await;
    }

    /// A connection for bytes.
    pub async fn connect(&self) -> raw::Connection {
        raw::Connection::open(self.address()).await
    }

    /// Publishes `json` to `channel`, on the bus itself.
    pub async fn publish(&self, channel: &str, json: impl AsRef<[u8]>) -> Cursor {
        self.publish_as(channel, "message", json).await
    }

    /// As [`Site::publish`], as an event of this name.
    pub async fn publish_as(&self, channel: &str, event: &str, json: impl AsRef<[u8]>) -> Cursor {
        let payload = Payload::from_json(json.as_ref()).unwrap();
        let draft = Draft::new(channel.parse().unwrap(), payload).event(event.parse().unwrap());
        self.service.bus.publish(Publication::new(vec![draft])).await.unwrap()[0]
    }

    /// All messages stored on `channel`: event and JSON of each, by its id.
    #[must_use]
    pub fn held(&self, channel: &str) -> Vec<(Cursor, String, String)> {
        let mut reader = Reader::open(self.service.log(), &[channel.parse().unwrap()], Since::Earliest);
        let batch = reader.read(Limit { messages: usize::MAX - 1, bytes: usize::MAX });
        let told = |message: &Message| {
            (message.id, message.draft.event.to_string(), message.draft.payload.plain_json().into_owned())
        };
        batch.iter().flat_map(|batch| &batch.messages).map(|message| told(message)).collect()
    }

    /// A token that is valid for an hour; patterns are separated by commas.
    #[must_use]
    pub fn token(&self, publish: &str, subscribe: &str) -> String {
        self.token_for(None, publish, subscribe, Duration::from_secs(3600))
    }

    /// A token of `subject` that is valid for `ttl`, rounded up to a whole second.
    #[must_use]
    pub fn token_for(&self, subject: Option<&str>, publish: &str, subscribe: &str, ttl: Duration) -> String {
        let request = TokenRequest {
            publish: publish.parse().unwrap(),
            subscribe: subscribe.parse().unwrap(),
            api: Vec::new(),
            ttl,
            subject: subject.map(ToOwned::to_owned),
            audience: None,
        };
        self.sign(&request)
    }

    /// A token of a backend with this right, that is valid for an hour.
    #[must_use]
    pub fn backend_token(&self, right: ApiRight) -> String {
        self.sign(&TokenRequest {
            publish: Patterns::default(),
            subscribe: Patterns::default(),
            api: vec![right],
            ttl: Duration::from_secs(3600),
            subject: None,
            audience: None,
        })
    }

    /// The token of `request`, valid from now on.
    #[must_use]
    pub fn sign(&self, request: &TokenRequest) -> String {
        let secret = self.service.edge.settings.secrets.first().expect("the site has a secret");
        mint(secret, request, SystemTime::now()).unwrap()
    }

    /// The ordered stop.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}
