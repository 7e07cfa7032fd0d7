//! docs/openapi.json is what the code says of itself, and servers do what it says.
//!
//! `make openapi` writes the file anew.

#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

use std::collections::BTreeSet;

use actix_web::http::Method;
use edge::testing::Site;
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

/// All services' parts in one.
fn described() -> Value {
    let mut all = edge::openapi::common();
    all.info.version = standalone::DEFAULTS.version.to_owned();
    all.info.license = Some(
        utoipa::openapi::LicenseBuilder::new()
            .name(env!("CARGO_PKG_LICENSE"))
            .identifier(Some(env!("CARGO_PKG_LICENSE")))
            .build(),
    );
    all.merge(comet_svc::openapi::openapi());
    all.merge(sse_svc::openapi::openapi());
    all.merge(streams_svc::openapi::openapi());
    all.merge(backend::openapi::openapi());
    let mut all = serde_json::to_value(all).unwrap();
    all["webhooks"] = backend::openapi::webhooks();
    all
}

#[test]
fn the_file_is_what_the_code_says() {
    let described = serde_json::to_string_pretty(&described()).unwrap() + "\n";
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, described).unwrap();
        return;
    }
    let written = std::fs::read_to_string(FILE).unwrap();
    assert!(written == described, "docs/openapi.json is not what the code says: `make openapi` writes it anew");
}

/// Calls and webhooks have what PROTOCOL.md shows: the members of each example are described, and those that are required are in it.
#[test]
fn calls_are_those_of_the_protocol() {
    let protocol = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md")).unwrap();
    let hooks = described()["webhooks"].clone();
    let mut seen = BTreeSet::new();
    for example in protocol.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let Ok(example) = serde_json::from_str::<Value>(example) else { continue };
        let Some(kind) = example["kind"].as_str().filter(|_| example["id"].is_string()) else { continue };
        let schema = &hooks[kind]["post"]["requestBody"]["content"]["application/json"]["schema"];
        for name in example.as_object().unwrap().keys() {
            assert!(schema["properties"].get(name).is_some(), "{kind}: {name}");
        }
        for name in schema["required"].as_array().unwrap() {
            assert!(example.get(name.as_str().unwrap()).is_some(), "{kind}: {name}");
        }
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["connect", "event", "publish", "subscribe"]);
    let components = &described()["components"]["schemas"];
    for name in ["Message", "ChannelName", "EventName"] {
        assert!(components.get(name).is_some(), "{name}");
    }
}

/// The parameters of `in` of an operation.
fn parameters<'a>(operation: &'a Value, place: &str) -> Vec<&'a Value> {
    let all = operation["parameters"].as_array().unwrap();
    all.iter().filter(|parameter| parameter["in"] == place).collect()
}

fn site() -> Site {
    Site::start(&standalone::DEFAULTS, &[], |service| comet_svc::routes(service).and(sse_svc::routes(service)), |_| ())
}

#[actix_web::test]
async fn the_parameters_are_those_that_are_accepted() {
    let (site, all) = (site(), described());
    for (path, method) in [("/data", "get"), ("/events", "get"), ("/ws", "get"), ("/data", "post"), ("/events", "post")]
    {
        let operation = &all["paths"][path][method];
        let documented: BTreeSet<&str> =
            parameters(operation, "query").iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let ask = site.ask(method.clone(), &format!("{path}?nobody.knows"));
        let answer = if method == Method::POST { ask.body("text/plain", "x").await } else { ask.send().await };
        let message = answer.message();
        let accepted: BTreeSet<&str> = message.split("accepted: ").nth(1).unwrap().split(", ").collect();
        assert_eq!(documented, accepted, "{method} {path}");
    }
}

/// Each documented limit and choice is the one in effect.
#[actix_web::test]
async fn the_values_are_those_that_are_accepted() {
    let (site, all) = (site(), described());
    let mut tried = 0;
    for path in ["/data", "/events"] {
        for parameter in parameters(&all["paths"][path]["get"], "query") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let mut good: Vec<String> = Vec::new();
            let mut bad: Vec<String> = Vec::new();
            for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                if let Some(value) = schema[bound].as_f64() {
                    good.push(value.to_string());
                    bad.push((value + f64::from(beyond)).to_string());
                }
            }
            if let Some(choices) = schema["enum"].as_array() {
                good.extend(choices.iter().filter_map(Value::as_str).map(ToOwned::to_owned));
                bad.push("another".to_owned());
            }
            if let Some(most) = parameter["schema"]["maxItems"].as_u64() {
                let names =
                    |count| (0..count).map(|n| format!("public.{n}")).collect::<Vec<_>>().join(&format!("&{name}="));
                good.push(names(most));
                bad.push(names(most + 1));
            }
            // A HEAD is answered immediately, and otherwise like the GET.
            let ask = |value: String| site.ask(Method::HEAD, &format!("{path}?{name}={value}")).send();
            for value in good {
                let answer = ask(value.clone()).await;
                assert!((200..300).contains(&answer.status), "{path}?{name}={value}: {}", answer.status);
                tried += 1;
            }
            for value in bad {
                let answer = ask(value.clone()).await;
                assert_eq!(answer.status, 400, "{path}?{name}={value}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 19, "{tried} values were tried");
}

#[actix_web::test]
async fn every_server_serves_it_with_a_page() {
    let site = site();
    let answer = site.get("/openapi.json").send().await;
    assert_eq!(answer.header("Content-Type"), "application/json");
    assert_eq!(answer.json(), described());
    for path in ["/api", "/api.css", "/api.js"] {
        assert_eq!(site.get(path).send().await.status, 200, "{path}");
    }
}
