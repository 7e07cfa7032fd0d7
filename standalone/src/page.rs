//! The start page: the three ways side by side.

use actix_web::web::ServiceConfig;
use shared::edge::page::{self, File};

/// The page at `/`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            File::html("/", include_str!("../../web/index.html")),
            File::css("/index.css", include_str!("../../web/index.css")),
            File::script("/index.js", include_str!("../../web/index.js")),
        ],
    );
}
