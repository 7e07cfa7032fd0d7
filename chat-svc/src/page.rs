//! The demo page: the chat.

use actix_web::web::ServiceConfig;
use edge::page::{self, File};

static PAGE: File = File::html(include_str!("../page/chat.html"));
static STYLE: File = File::css(include_str!("../page/chat.css"));
static SCRIPT: File = File::script(include_str!("../page/chat.js"));

/// The page at `/chat`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(config, &[("/chat", &PAGE), ("/chat.css", &STYLE), ("/chat.js", &SCRIPT)]);
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[("/", &PAGE)]);
}
