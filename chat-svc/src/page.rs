//! The demo page: the chat.

use actix_web::web::ServiceConfig;
use shared::edge::page::{self, File};

const PAGE: File = File::html("/chat", include_str!("../page/chat.html"));

/// The page at `/chat`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            PAGE,
            File::css("/chat.css", include_str!("../page/chat.css")),
            File::script("/chat.js", include_str!("../page/chat.js")),
        ],
    );
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[PAGE.at("/")]);
}
