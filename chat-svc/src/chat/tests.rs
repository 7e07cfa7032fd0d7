//! The chat on a Redis that refuses commands.

use edge::{
    Settings,
    testing::{documented, redis::Server, until},
};

use super::*;

/// A chat of a user with the documented rights.
async fn guarded(server: &Server) -> (Service, Chat) {
    let rights = documented::redis_rights();
    let user: Vec<&str> = ["ACL", "SETUSER", "trident"].into_iter().chain(rights.iter().map(String::as_str)).collect();
    server.command(&user).await;
    let url = server.url().replace("redis://", "redis://trident:let-me-in-please@");
    let settings =
        Settings::from_sources(&crate::DEFAULTS, [], [("TRIDENT_BUS", &*url), ("TRIDENT_DEMO", "off")]).unwrap();
    let service = Service::open(settings, &crate::DEFAULTS).unwrap();
    let chat = Chat::new(&service).unwrap();
    until("all is well", || service.bus.ready().is_ok() && service.edge.readiness.degraded().is_empty()).await;
    (service, chat)
}

fn why(service: &Service, reason: &str) -> Option<String> {
    service.edge.readiness.degraded().into_iter().find(|one| one.reason == reason).map(|one| one.message)
}

/// Case 8.2: the rights that the documentation names suffice for sessions and for the cluster, too.
#[actix_web::test]
async fn the_documented_rights_suffice() {
    let server = Server::start().await;
    let (_service, _chat) = guarded(&server).await;
    assert_eq!(server.command(&["ACL", "LOG"]).await, redis::Value::Array(Vec::new()), "nothing was refused");
}

/// Cases 8.2 and 8.8: commands that Redis rejects are named while it rejects them; the state recovers without a restart.
#[actix_web::test]
async fn refused_commands_are_reported_until_they_are_allowed_again() {
    let server = Server::start().await;
    let (service, _chat) = guarded(&server).await;
    for (right, reason) in [
        ("eval", reason::SESSION_STORE),
        ("hget", reason::SESSION_STORE),
        ("pttl", reason::SESSION_STORE),
        ("publish", reason::SOCKET_CLUSTER),
    ] {
        server.command(&["ACL", "SETUSER", "trident", &format!("-{right}")]).await;
        until(right, || why(&service, reason).is_some_and(|why| why.to_lowercase().contains(right))).await;
        assert!(service.bus.ready().is_ok(), "{right}: messages are published and delivered");
        let text = service.edge.metrics.encode().unwrap();
        assert!(text.contains(&format!("trident_degraded{{reason=\"{reason}\"}} 1")), "{text}");
        server.command(&["ACL", "SETUSER", "trident", &format!("+{right}")]).await;
        until("all is well again", || service.edge.readiness.degraded().is_empty()).await;
    }
}

/// Case 5.8: the bounds of Socket.IO follow from the settings, and each has room for the largest message.
#[test]
fn bounds_of_memory_follow_from_the_settings() {
    let bounds = |settings: &[(&str, &str)]| {
        let mut config = socketio::Config::default();
        bound_memory(&mut config, &Settings::from_sources(&crate::DEFAULTS, [], settings.iter().copied()).unwrap());
        let outbox = (config.max_pending_total, config.max_pending_bytes);
        (outbox, config.max_receiving_total, (config.max_handler_total, config.max_handler_bytes))
    };
    let (outbox, receive) = ("TRIDENT_OUTBOX_TOTAL", "TRIDENT_RECEIVE_TOTAL");
    const MIB: usize = 1 << 20;
    assert_eq!(
        bounds(&[(outbox, "256MiB"), (receive, "64MiB")]),
        ((256 * MIB, 64 * MIB), 64 * MIB, (64 * MIB, 16 * MIB))
    );
    let least = 2_000_000;
    assert_eq!(bounds(&[(outbox, "1KiB"), (receive, "4MB")]), ((least, least), 4_000_000, (4_000_000, least)));
    let least = 2 * (100 * MIB + MESSAGE_OVERHEAD);
    let large = [(outbox, "8MiB"), (receive, "8MiB"), ("TRIDENT_MAX_BODY", "100MiB")];
    assert_eq!(bounds(&large), ((least, least), least, (least, least)));
    assert_eq!(bounds(&[(outbox, "0"), (receive, "0")]), ((0, 64 * MIB), 0, (0, 16 * MIB)), "0 is no limit for all");
}
