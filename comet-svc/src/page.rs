//! The demo page: the three modes side by side.

use actix_web::web::ServiceConfig;
use edge::page::{self, File};

static PAGE: File = File::html(include_str!("../page/comet.html"));
static STYLE: File = File::css(include_str!("../page/comet.css"));
static SCRIPT: File = File::script(include_str!("../page/comet.js"));
static LANE: File = File::script(include_str!("../page/comet-lane.js"));
static TEXT: File = File::script(include_str!("../page/comet-text.js"));

/// The page at `/comet`, with its files.
pub fn pages(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            ("/comet", &PAGE),
            ("/comet.css", &STYLE),
            ("/comet.js", &SCRIPT),
            ("/comet-lane.js", &LANE),
            ("/comet-text.js", &TEXT),
        ],
    );
}

/// The page at `/`, for a server that has no other.
pub fn home(config: &mut ServiceConfig) {
    page::serve(config, &[("/", &PAGE)]);
}
