//! The demo page: the chat.

use actix_web::web::ServiceConfig;
use edge::page::{self, File};

static PAGE: File = File::html(include_str!("../page/chat.html"));
static STYLE: File = File::css(include_str!("../page/chat.css"));
static SCRIPT: File = File::script(include_str!("../page/chat.js"));
static ROOMS: File = File::script(include_str!("../page/chat-rooms.js"));
static TEXT: File = File::script(include_str!("../page/chat-text.js"));
static VIEW: File = File::script(include_str!("../page/chat-view.js"));

/// The page at `/chat`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            ("/chat", &PAGE),
            ("/chat.css", &STYLE),
            ("/chat.js", &SCRIPT),
            ("/chat-rooms.js", &ROOMS),
            ("/chat-text.js", &TEXT),
            ("/chat-view.js", &VIEW),
        ],
    );
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[("/", &PAGE)]);
}
