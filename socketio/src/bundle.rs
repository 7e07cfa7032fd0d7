//! The official browser client, as npm's package `socket.io-client` contains it, for `<script src="/socket.io/socket.io.js">`.
//!
//! [`Bundle::open`] reads the package's `dist/` directory once; [`Bundle::embedded`] takes files that are part of the program. For each
//! request, a file's name goes to [`Bundle::respond`], which answers with the file, compressed if the client accepts gzip. Routing
//! and CORS are up to the server around it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use flate2::Compression;

use crate::compress::{self, Coding};

/// What the package offers to browsers. Each has its source map beside it, `<name>.map`.
pub const FILES: [&str; 4] = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

/// The client's files. Cloning is cheap: clones share them.
#[derive(Debug, Clone)]
pub struct Bundle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
enum Inner {
    Loaded { version: String, etag: HeaderValue, files: Vec<File> },
    Missing { directory: PathBuf, reason: String },
}

impl Inner {
    fn gzip(&self, at: usize) -> Option<Bytes> {
        match self {
            Self::Loaded { files, .. } => files.get(at)?.gzip(),
            Self::Missing { .. } => None,
        }
    }
}

#[derive(Debug)]
struct File {
    name: String,
    plain: Bytes,
    /// Made at the first request for it.
    gzip: OnceLock<Option<Bytes>>,
}

impl File {
    fn new(name: &str, plain: Bytes) -> Self {
        Self { name: name.to_owned(), plain, gzip: OnceLock::new() }
    }

    fn gzip(&self) -> Option<Bytes> {
        let make = || compress::compress(Coding::Gzip, Compression::best(), &self.plain).map(|(body, _)| body);
        self.gzip.get_or_init(make).clone()
    }
}

/// Why a directory does not serve as a bundle.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("no version of the client in {0}")]
    Version(PathBuf),
}

impl Bundle {
    /// Reads the client's files from `directory`, the `dist/` of npm's `socket.io-client`.
    ///
    /// A missing or incomplete directory is not an error: the rest of a server works without it. Each request for a file then gets a 404
    /// with a text that explains what to do; [`problem`](Self::problem) returns the reason, for the log.
    pub fn open(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let inner = match load(&directory) {
            Ok(inner) => inner,
            Err(error) => Inner::Missing { directory, reason: error.to_string() },
        };
        Self { inner: Arc::new(inner) }
    }

    /// The client's files as part of the program: pairs of a name, of [`FILES`] or of a source map, and what `include_bytes!` gives.
    ///
    /// The version, which is the files' `ETag`, is read from the comment at the head of the first file. Without one, the files are not
    /// served; [`problem`](Self::problem) says so.
    pub fn embedded(files: &[(&str, &'static [u8])]) -> Self {
        let files: Vec<_> = files.iter().map(|&(name, text)| File::new(name, Bytes::from_static(text))).collect();
        let inner = loaded(version_in_comment(&files), files).unwrap_or_else(|| Inner::Missing {
            directory: PathBuf::new(),
            reason: "no version of the client in the files that are part of the program".to_owned(),
        });
        Self { inner: Arc::new(inner) }
    }

    /// The version of the client, such as `4.8.1`; none where it is missing.
    pub fn version(&self) -> Option<&str> {
        match &*self.inner {
            Inner::Loaded { version, .. } => Some(version),
            Inner::Missing { .. } => None,
        }
    }

    /// Why there are no files, if so.
    pub fn problem(&self) -> Option<&str> {
        match &*self.inner {
            Inner::Loaded { .. } => None,
            Inner::Missing { reason, .. } => Some(reason),
        }
    }

    /// Whether `name` is the name of one of the client's files or source maps, whether or not it is there.
    pub fn is_file(name: &str) -> bool {
        FILES.contains(&name.strip_suffix(".map").unwrap_or(name))
    }

    /// The answer to a request for the file `name` (the last part of the path, without the query); `None` when
    /// [`is_file`](Self::is_file) says no.
    ///
    /// `GET` and `HEAD`; anything else is 405. 304 to a matching `If-None-Match`.
    pub async fn respond(&self, name: &str, method: &Method, headers: &HeaderMap) -> Option<HttpResponse> {
        if !Self::is_file(name) {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish());
        }
        let (etag, files) = match &*self.inner {
            Inner::Loaded { etag, files, .. } => (etag, files),
            Inner::Missing { directory, reason } => return Some(missing(directory, reason)),
        };
        let Some(at) = files.iter().position(|file| file.name == name) else {
            // The package ships this file's siblings, but not this file.
            return Some(HttpResponse::NotFound().finish());
        };
        if is_known(headers, etag) {
            let mut response = HttpResponse::NotModified();
            caching(&mut response, etag);
            return Some(response.finish());
        }
        let mut response = HttpResponse::Ok();
        caching(&mut response, etag);
        response.content_type(if name.ends_with(".map") {
            "application/json; charset=utf-8"
        } else {
            "application/javascript; charset=utf-8"
        });
        let gzip = match compress::choose(headers) {
            // On a thread where the first compression delays nothing else.
            Some(Coding::Gzip) => {
                let inner = self.inner.clone();
                web::block(move || inner.gzip(at)).await.unwrap_or_default()
            }
            _ => None,
        };
        Some(match gzip {
            Some(gzip) => response.insert_header((header::CONTENT_ENCODING, "gzip")).body(gzip),
            None => response.body(files[at].plain.clone()),
        })
    }
}

/// Whether `If-None-Match` names this tag, weak or not, alone or in a list, or any (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).as_bytes().to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        // The version contains no comma, so a comma within another tag cannot produce it.
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || opaque(tag) == etag.as_bytes())
}

fn caching(response: &mut HttpResponseBuilder, etag: &HeaderValue) {
    response
        .insert_header((header::CACHE_CONTROL, "public, max-age=0"))
        .insert_header((header::ETAG, etag.clone()))
        .insert_header((header::VARY, "Accept-Encoding"));
}

/// The text is a comment to a browser that came by `<script>`, and plain to a person who looks.
fn missing(directory: &Path, reason: &str) -> HttpResponse {
    log::warn!("the Socket.IO client was requested, but is not available: {reason}");
    let name = directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    HttpResponse::build(StatusCode::NOT_FOUND)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body(format!(
            "/*\n * The Socket.IO client is not installed on this server.\n *\n * Get it with `npm install \
             socket.io-client`, let the server's setting for the client bundle name\n * the package's directory \
             `node_modules/socket.io-client/dist` (it now names a directory {name:?}),\n * and start the server again. \
             Its log says what was missing.\n */\n"
        ))
}

fn load(directory: &Path) -> Result<Inner, OpenError> {
    let mut files = Vec::new();
    for name in FILES {
        files.push(read(directory, name.to_owned())?);
        // Maps serve debuggers only, so that a package without them is complete.
        files.extend(read(directory, format!("{name}.map")));
    }
    let version = version_in_package(directory).or_else(|| version_in_comment(&files));
    loaded(version, files).ok_or_else(|| OpenError::Version(directory.to_owned()))
}

/// The files under their version as an `ETag`; `None` without a version that fits into one.
fn loaded(version: Option<String>, files: Vec<File>) -> Option<Inner> {
    let version =
        version.filter(|version| version.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",".contains(&byte)))?;
    let etag = HeaderValue::from_str(&format!("\"{version}\"")).ok()?;
    Some(Inner::Loaded { version, etag, files })
}

fn read(directory: &Path, name: String) -> Result<File, OpenError> {
    let path = directory.join(&name);
    let plain = std::fs::read(&path).map_err(|error| OpenError::Read(path, error))?;
    Ok(File::new(&name, plain.into()))
}

/// The version in `package.json`, which is one above `dist/` or beside the files.
fn version_in_package(directory: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        version: String,
    }

    [directory.join("../package.json"), directory.join("package.json")]
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .find_map(|json| serde_json::from_slice::<Package>(&json).ok())
        .map(|package| package.version)
}

/// The version in the comment at the head of the first file.
fn version_in_comment(files: &[File]) -> Option<String> {
    let text = std::str::from_utf8(files.first()?.plain.get(..200)?).ok()?;
    let (_, version) = text.split_once("Socket.IO v")?;
    version.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests;
