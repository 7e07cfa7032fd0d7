//! The requests of Trident to the application: `webhooks` of OpenAPI 3.1, which the crate for the rest of the document does not know.

use serde_json::{Value, json};

/// Calls, and webhooks of the event feed, by name.
#[must_use]
pub fn webhooks() -> Value {
    json!({
        "event": call(
            "A Socket.IO client has emitted an event that the chat does not know",
            object(&["event", "args", "namespace", "socket"], &json!({
                "kind": { "const": "event" },
                "event": { "type": "string" },
                "args": list(&any("A buffer is `{\"base64\":…}`.")),
                "namespace": { "type": "string", "examples": ["/"] },
                "socket": object(&["id", "user", "rooms", "data"], &json!({
                    "id": { "type": "string" },
                    "user": { "type": ["string", "null"] },
                    "rooms": list(&text()),
                    "data": any("What `connect` answered."),
                })),
            })),
            object(&[], &json!({
                "ack": list(&any("`{\"base64\":…}` alone is sent as a buffer.")),
                "publish": list(&object(&["channel", "data"], &json!({ "channel": name("ChannelName"), "event": name("EventName"), "data": {} }))),
                "emit": list(&object(&["to", "event"], &json!({ "to": to(), "event": text(), "args": list(&json!({})) }))),
                "join": list(&text()),
                "leave": list(&text()),
            })),
        ),
        "connect": call(
            "A client connects: who is it?",
            object(&["transport", "address", "user", "headers"], &json!({
                "kind": { "const": "connect" },
                "transport": { "enum": ["sse", "longpoll", "poll", "stream", "ws", "websocket", "polling"] },
                "namespace": { "type": "string", "description": "Of Socket.IO." },
                "address": text(),
                "user": { "type": ["string", "null"], "description": "Of a valid token." },
                "headers": { "type": "object", "additionalProperties": text() },
                "auth": any("Of Socket.IO."),
            })),
            object(&[], &json!({
                "user": text(),
                "subscribe": list(&text()),
                "publish": list(&text()),
                "expires": { "type": "integer", "description": "Seconds since 1970." },
                "data": {},
                "refuse": { "type": "string", "description": "The reason, in place of everything else." },
            })),
        ),
        "subscribe": call(
            "May a client subscribe?",
            object(&["channels", "user", "address", "data"], &asked("subscribe", "channels", &list(&name("ChannelName")))),
            permission(&json!({})),
        ),
        "publish": call(
            "May a client publish?",
            object(&["messages", "user", "address", "data"], &asked("publish", "messages", &list(&object(
                &["channel", "event", "data"],
                &json!({ "channel": name("ChannelName"), "event": name("EventName"), "data": {} }),
            )))),
            permission(&json!({
                "data": any("In place of the data of the only message."),
                "messages": list(&object(&[], &json!({ "data": {} }))),
            })),
        ),
        "events": post(
            "Events of the feed, and messages of chosen channels",
            "At least once and in order. Any 2xx accepts the batch; everything else is sent again, with the same `webhook-id` and the same body.",
            &object(&["events"], &json!({ "events": list(&name("Message")) })),
            &json!({ "2XX": { "description": "Accepted" } }),
        ),
    })
}

/// A request that waits for its answer.
fn call(summary: &str, mut request: Value, answer: Value) -> Value {
    request["properties"]["id"] = json!({ "type": "string", "description": "A repetition has the same." });
    if let Some(required) = request["required"].as_array_mut() {
        required.splice(0..0, [json!("id"), json!("kind")]);
    }
    let responses = json!({ "2XX": { "description": "The answer, of at most 64 KiB", "content": content(&answer) } });
    post(summary, "A call that fails allows nothing.", &request, &responses)
}

fn post(summary: &str, description: &str, request: &Value, responses: &Value) -> Value {
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "required": true, "schema": text(), "description": description });
    json!({ "post": {
        "tags": ["application"],
        "summary": summary,
        "description": description,
        "parameters": [
            header("webhook-id", "The same for each repetition."),
            header("webhook-timestamp", "Seconds since 1970 at which this attempt was sent."),
            { "name": "webhook-signature", "in": "header", "schema": text(),
              "description": "As Standard Webhooks says, for each secret of TRIDENT_HOOK_SECRET." },
        ],
        "requestBody": { "required": true, "content": content(request) },
        "responses": responses,
    } })
}

fn asked(kind: &str, name: &str, what: &Value) -> Value {
    json!({
        "kind": { "const": kind },
        name: what,
        "user": { "type": ["string", "null"] },
        "address": text(),
        "data": any("What `connect` answered."),
    })
}

fn permission(more: &Value) -> Value {
    let mut answer = object(
        &["allow"],
        &json!({ "allow": { "type": "boolean" }, "code": { "type": "string", "pattern": "^[a-z0-9_]{1,64}$" }, "message": text() }),
    );
    if let (Some(known), Some(more)) = (answer["properties"].as_object_mut(), more.as_object()) {
        known.extend(more.clone());
    }
    answer
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn object(required: &[&str], properties: &Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn any(description: &str) -> Value {
    json!({ "description": description })
}

fn name(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn to() -> Value {
    let one = |of: &str| object(&[of], &json!({ of: text() }));
    json!({ "oneOf": [one("socket"), one("user"), one("room")] })
}
