//! The demo page: the clock over `EventSource`.

use actix_web::web::ServiceConfig;
use shared::edge::page::{self, File};

const PAGE: File = File::html("/sse", include_str!("../page/sse.html"));

/// The page at `/sse`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            PAGE,
            File::css("/sse.css", include_str!("../page/sse.css")),
            File::script("/sse.js", include_str!("../page/sse.js")),
        ],
    );
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[PAGE.at("/")]);
}
