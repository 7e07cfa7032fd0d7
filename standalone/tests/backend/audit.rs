//! Which backend did what to whom: lines of the log.

use std::sync::Mutex;

use edge::testing::Site;
use log::{LevelFilter, Log, Metadata, Record};

use serde_json::json;
use shared::pure::access::ApiRight;

use crate::{site, token};

/// The lines of all tests of this process.
static LINES: Lines = Lines(Mutex::new(Vec::new()));

struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target().starts_with("backend") {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[actix_web::test]
async fn audit_lines_name_their_target() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Info);
    let site: Site = site(&[]);
    let backend = site.backend_token(ApiRight::Write);
    let user = "audited";
    let _events = site.get("/events?channel=public.a").token(&token(&site, user, "", "")).events().await;
    let registry = site.service.edge.limits.registry();
    edge::testing::until("the connection", || registry.count() == 1).await;
    let id = registry.page(None, 1, |_| true).await.connections[0].id();
    for path in [format!("connections/{id}"), format!("users/{user}/connections")] {
        site.ask("DELETE".parse().unwrap(), &format!("/v1/{path}")).token(&backend).send().await;
    }
    for body in [json!({ "user": user }), json!({ "jti": "audited\n7" })] {
        let ask = site.ask("POST".parse().unwrap(), "/v1/revocations").token(&backend);
        assert_eq!(ask.body("application/json", body.to_string()).await.status, 201);
    }
    let lines = LINES.0.lock().unwrap();
    for begin in [
        format!("connection {id} of the user \"audited\" was ended by token:"),
        "0 connections of the user \"audited\" were ended by token:".to_owned(),
        "the tokens of the user \"audited\" were revoked by token:".to_owned(),
        "the token with the id \"audited\\n7\" was revoked by token:".to_owned(),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(&begin)), "{begin}: {lines:?}");
    }
}
