use std::fs;
use std::io::Read as _;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::body::to_bytes;
use actix_web::http::header::{HeaderName, USER_AGENT};

use super::*;

const SCRIPT: &str = "/* a client */ var io;\n";

/// A package as npm lays it out, gone at the end of its test.
struct Package(PathBuf);

impl Package {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("socketio-bundle-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("dist")).unwrap();
        for name in FILES {
            fs::write(root.join("dist").join(name), SCRIPT.repeat(100)).unwrap();
            fs::write(root.join("dist").join(format!("{name}.map")), "{\"version\":3}").unwrap();
        }
        fs::write(root.join("package.json"), r#"{"name":"socket.io-client","version":"4.8.1"}"#).unwrap();
        Self(root)
    }

    fn dist(&self) -> PathBuf {
        self.0.join("dist")
    }

    fn open(&self) -> Bundle {
        Bundle::open(self.dist())
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn get(bundle: &Bundle, name: &str, headers: &[(HeaderName, &str)]) -> HttpResponse {
    let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
    bundle.respond(name, &Method::GET, &headers).await.unwrap()
}

fn header_of(response: &HttpResponse, name: HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[actix_web::test]
async fn every_file_is_served_with_its_headers() {
    let package = Package::new();
    let bundle = package.open();
    assert_eq!(bundle.version(), Some("4.8.1"));
    assert_eq!(bundle.problem(), None);
    for name in FILES {
        let script = get(&bundle, name, &[]).await;
        assert_eq!(script.status(), StatusCode::OK);
        assert_eq!(header_of(&script, header::CONTENT_TYPE), "application/javascript; charset=utf-8");
        assert_eq!(header_of(&script, header::CACHE_CONTROL), "public, max-age=0");
        assert_eq!(header_of(&script, header::ETAG), "\"4.8.1\"");
        assert_eq!(header_of(&script, header::VARY), "Accept-Encoding");
        assert_eq!(to_bytes(script.into_body()).await.unwrap(), SCRIPT.repeat(100));
        let map = get(&bundle, &format!("{name}.map"), &[]).await;
        assert_eq!(map.status(), StatusCode::OK);
        assert!(header_of(&map, header::CONTENT_TYPE).starts_with("application/json"));
    }
}

#[actix_web::test]
async fn other_names_are_not_handled() {
    let package = Package::new();
    let bundle = package.open();
    for name in ["", "socket.io.css", "../package.json", "socket.io.js.map.map", "Socket.io.js", "socket.io.js/"] {
        assert!(!Bundle::is_file(name));
        assert!(bundle.respond(name, &Method::GET, &HeaderMap::new()).await.is_none());
    }
}

#[actix_web::test]
async fn only_get_and_head_are_answered() {
    let package = Package::new();
    let bundle = package.open();
    for (method, status) in [(Method::HEAD, StatusCode::OK), (Method::POST, StatusCode::METHOD_NOT_ALLOWED)] {
        let response = bundle.respond("socket.io.js", &method, &HeaderMap::new()).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[actix_web::test]
async fn a_known_version_gives_304() {
    let package = Package::new();
    let bundle = package.open();
    for (tag, status) in [
        ("\"4.8.1\"", 304),
        ("W/\"4.8.1\"", 304),
        ("\"4.8.0\", \"4.8.1\"", 304),
        ("W/\"4.8.0\",W/\"4.8.1\"", 304),
        ("*", 304),
        ("\"4.8.0\"", 200),
        ("4.8.1", 200),
        ("", 200),
    ] {
        let response = get(&bundle, "socket.io.js", &[(header::IF_NONE_MATCH, tag)]).await;
        assert_eq!(response.status(), status, "{tag}");
        assert_eq!(header_of(&response, header::ETAG), "\"4.8.1\"");
        assert_eq!(header_of(&response, header::CACHE_CONTROL), "public, max-age=0");
    }
}

#[actix_web::test]
async fn gzip_is_sent_where_it_is_accepted() {
    let package = Package::new();
    let bundle = package.open();
    for (accept, encoding) in [
        ("gzip, deflate, br", "gzip"),
        ("gzip", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("gzip;q=0, br", ""),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("identity", ""),
        ("deflate, zstd", ""),
        ("", ""),
    ] {
        // Twice: made, and then kept.
        for _ in 0..2 {
            let response = get(&bundle, "socket.io.js", &[(header::ACCEPT_ENCODING, accept)]).await;
            // No coding is expressed by omitting the field: `identity` may not be named there (RFC 9110 §8.4).
            let named = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(named, Some(encoding).filter(|encoding| !encoding.is_empty()), "{accept}");
            assert_eq!(header_of(&response, header::VARY), "Accept-Encoding");
            let body = to_bytes(response.into_body()).await.unwrap();
            let mut text = String::new();
            match encoding {
                "gzip" => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text),
                _ => (&body[..]).read_to_string(&mut text),
            }
            .unwrap();
            assert_eq!(text, SCRIPT.repeat(100), "{accept}");
            assert!(encoding.is_empty() || body.len() < text.len() / 10);
        }
    }
}

#[actix_web::test]
async fn a_missing_folder_gives_404() {
    let bundle = Bundle::open("/nonexistent/socket.io-client/dist");
    assert_eq!(bundle.version(), None);
    assert!(bundle.problem().unwrap().contains("socket.io.js"));
    let response = get(&bundle, "socket.io.js", &[(USER_AGENT, "test")]).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(header_of(&response, header::CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(header_of(&response, header::CACHE_CONTROL), "no-store");
    let body = to_bytes(response.into_body()).await.unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains("npm install socket.io-client"), "{text}");
    // Where files lie on this machine is nobody's business.
    assert!(!text.contains("/nonexistent"), "{text}");
    assert!(text.starts_with("/*") && text.trim_end().ends_with("*/"));
}

#[actix_web::test]
async fn half_a_package() {
    let package = Package::new();
    for name in FILES {
        fs::remove_file(package.dist().join(format!("{name}.map"))).unwrap();
    }
    let bundle = package.open();
    assert_eq!(get(&bundle, "socket.io.js", &[]).await.status(), StatusCode::OK);
    assert_eq!(get(&bundle, "socket.io.js.map", &[]).await.status(), StatusCode::NOT_FOUND);

    fs::remove_file(package.dist().join("socket.io.min.js")).unwrap();
    assert!(package.open().problem().unwrap().contains("socket.io.min.js"));
}

#[test]
fn where_the_version_is() {
    let package = Package::new();
    fs::rename(package.0.join("package.json"), package.dist().join("package.json")).unwrap();
    assert_eq!(package.open().version(), Some("4.8.1"));
    fs::remove_file(package.dist().join("package.json")).unwrap();
    assert!(package.open().problem().unwrap().contains("version"));
    let head = format!("/*!\n * Socket.IO v4.7.5\n * (c) somebody\n */\n{}", SCRIPT.repeat(20));
    fs::write(package.dist().join("socket.io.js"), head).unwrap();
    assert_eq!(package.open().version(), Some("4.7.5"));
    fs::write(package.0.join("package.json"), r#"{"version":"4\"\n"}"#).unwrap();
    assert!(package.open().problem().is_some());
}

#[actix_web::test]
async fn files_of_the_program() {
    const CLIENT: &str = "/*!\n * Socket.IO v4.8.4\n * (c) somebody\n */\n";
    let script: &'static str = String::leak(format!("{CLIENT}{}", SCRIPT.repeat(20)));
    let bundle = Bundle::embedded(&[("socket.io.js", script.as_bytes()), ("socket.io.js.map", b"{}")]);
    assert_eq!((bundle.version(), bundle.problem()), (Some("4.8.4"), None));
    let response = get(&bundle, "socket.io.js", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, header::ETAG), "\"4.8.4\"");
    assert_eq!(to_bytes(response.into_body()).await.unwrap(), script);
    assert_eq!(get(&bundle, "socket.io.js.map", &[]).await.status(), StatusCode::OK);
    assert_eq!(get(&bundle, "socket.io.min.js", &[]).await.status(), StatusCode::NOT_FOUND);
    assert!(Bundle::embedded(&[("socket.io.js", b"var io;")]).problem().unwrap().contains("version"));
}
