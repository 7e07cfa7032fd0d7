//! The playground at `/`, as `web/playground` builds it (the built files are part of the repository, so that no build of a server needs
//! Node), and the documentation of this version at `/docs`.

use actix_web::web::ServiceConfig;
use edge::page::{self, File};

static PAGE: File = File::html(include_str!("../../web/playground/dist/index.html"));
static STYLE: File = File::css(include_str!("../../web/playground/dist/playground.css"));
static SCRIPT: File = File::script(include_str!("../../web/playground/dist/playground.js"));

static DOCS: File = File::html(include_str!("../../web/docs/docs.html"));
static DOCS_STYLE: File = File::css(include_str!("../../web/docs/docs.css"));
static DOCS_SCRIPT: File = File::script(include_str!("../../web/docs/docs.js"));
static BACKEND: File = File::markdown(include_str!("../../docs/BACKEND.md"));
static TUTORIAL: File = File::markdown(include_str!("../../docs/TUTORIAL.md"));
static PROTOCOL: File = File::markdown(include_str!("../../docs/PROTOCOL.md"));
static OPERATIONS: File = File::markdown(include_str!("../../docs/OPERATIONS.md"));
static MIGRATING: File = File::markdown(include_str!("../../docs/MIGRATING.md"));

/// Both pages, with their files.
pub(crate) fn routes(config: &mut ServiceConfig) {
    page::serve(
        config,
        &[
            ("/", &PAGE),
            ("/playground.css", &STYLE),
            ("/playground.js", &SCRIPT),
            ("/docs", &DOCS),
            ("/docs.css", &DOCS_STYLE),
            ("/docs.js", &DOCS_SCRIPT),
            ("/docs/TUTORIAL.md", &TUTORIAL),
            ("/docs/BACKEND.md", &BACKEND),
            ("/docs/PROTOCOL.md", &PROTOCOL),
            ("/docs/OPERATIONS.md", &OPERATIONS),
            ("/docs/MIGRATING.md", &MIGRATING),
        ],
    );
}
