//! The sockets of a connection, each of which is a client of its own.

use edge::{
    connections::End,
    testing::{Site, backend::Backend, until},
};
use serde_json::json;

use crate::{client::Client, site};

/// The users of all registered sockets, with their transports.
async fn registered(site: &Site) -> Vec<String> {
    let page = site.service.edge.limits.registry().page(None, 100, |_| true).await;
    let user = |user: Option<&std::sync::Arc<str>>| user.map_or("-", |user| user).to_owned();
    let mut users: Vec<_> = page.connections.iter().map(|connection| user(connection.user())).collect();
    users.sort_unstable();
    users
}

fn token(site: &Site, user: &str) -> serde_json::Value {
    json!({ "token": site.token_for(Some(user), "", "*", std::time::Duration::from_secs(60)) })
}

/// Disconnecting a user, revoking a token and presence have missed the users of all sockets of a connection but one.
#[actix_web::test]
async fn each_socket_of_a_connection_is_registered_with_its_user() {
    let backend = Backend::start().await;
    let url = backend.url();
    let site = site(&[("TRIDENT_CALL_URL", &url), ("TRIDENT_CALL_NAMESPACES", "/orders,/shop")]);
    let registry = site.service.edge.limits.registry().clone();
    let mut client = Client::connect(&site).await;
    let orders = client.join_namespace("/orders", &token(&site, "ann")).await.unwrap();
    client.join_namespace("/shop", &token(&site, "bob")).await.unwrap();
    assert_eq!(registered(&site).await, ["-", "ann", "bob"]);
    assert_eq!(site.service.edge.limits.connections(), 1, "limits count the connection");
    let found = registry.get(orders.parse().unwrap()).unwrap();
    assert_eq!(found.user().map(|user| &**user), Some("ann"));
    // The one that leaves can join again as somebody else.
    client.send("41/orders,").await;
    until("ann is gone", || registry.count() == 2).await;
    let again = client.join_namespace("/orders", &token(&site, "eve")).await.unwrap();
    assert_ne!(again, orders);
    assert_eq!(registered(&site).await, ["-", "bob", "eve"]);
    // Each of them ends the connection, with the others.
    assert_eq!(
        registry.end_all(End::Disconnected, |connection| connection.user().is_some_and(|user| &**user == "eve")).await,
        1
    );
    until("the connection has ended", || site.service.edge.limits.connections() == 0).await;
    until("nothing is registered", || registry.count() == 0).await;
}
