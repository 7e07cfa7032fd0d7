//! The playground at `/`, as `web/playground` builds it: the built files are part of the repository, so that no build of a
//! server needs Node.

use actix_web::web::ServiceConfig;
use edge::page::{self, File};

static PAGE: File = File::html(include_str!("../../web/playground/dist/index.html"));
static STYLE: File = File::css(include_str!("../../web/playground/dist/playground.css"));
static SCRIPT: File = File::script(include_str!("../../web/playground/dist/playground.js"));

/// The page at `/`, with its files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(config, &[("/", &PAGE), ("/playground.css", &STYLE), ("/playground.js", &SCRIPT)]);
}
