//! The demo page: the three modes side by side.

use actix_web::web::ServiceConfig;
use shared::edge::page::{self, File};

const PAGE: File = File::html("/comet", include_str!("../page/comet.html"));

/// The page at `/comet`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            PAGE,
            File::css("/comet.css", include_str!("../page/comet.css")),
            File::script("/comet.js", include_str!("../page/comet.js")),
        ],
    );
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[PAGE.at("/")]);
}
