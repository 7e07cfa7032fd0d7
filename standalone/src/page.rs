//! The playground at `/`, as `web/playground` builds it: the built files are part of the repository, so that no build of a
//! server needs Node.

use actix_web::web::ServiceConfig;
use shared::edge::page::{self, File};

/// The page at `/`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            File::html("/", include_str!("../../web/playground/dist/index.html")),
            File::css("/playground.css", include_str!("../../web/playground/dist/playground.css")),
            File::script("/playground.js", include_str!("../../web/playground/dist/playground.js")),
        ],
    );
}
