//! The demo page: the clock over `EventSource`.

use actix_web::web::ServiceConfig;
use edge::page::{self, File};

static PAGE: File = File::html(include_str!("../page/sse.html"));
static STYLE: File = File::css(include_str!("../page/sse.css"));
static SCRIPT: File = File::script(include_str!("../page/sse.js"));
static TEXT: File = File::script(include_str!("../page/sse-text.js"));

/// The page at `/sse`, with its files.
pub fn pages(config: &mut ServiceConfig) {
    page::serve(config, &[("/sse", &PAGE), ("/sse.css", &STYLE), ("/sse.js", &SCRIPT), ("/sse-text.js", &TEXT)]);
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[("/", &PAGE)]);
}
