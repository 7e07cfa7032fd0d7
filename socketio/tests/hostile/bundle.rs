//! The client for browsers at its official paths, CORS and compression included.

use std::fs;

use socketio::Origins;
use socketio::bundle::{Bundle, FILES};

use crate::server::start_with;

#[test]
fn served_beside_the_sessions() {
    let root = std::env::temp_dir().join(format!("socketio-hostile-{}", std::process::id()));
    fs::create_dir_all(root.join("dist")).unwrap();
    for name in FILES {
        fs::write(root.join("dist").join(name), "var io;".repeat(1000)).unwrap();
        fs::write(root.join("dist").join(format!("{name}.map")), "{}").unwrap();
    }
    fs::write(root.join("package.json"), r#"{"version":"4.8.1"}"#).unwrap();
    let bundle = Bundle::open(root.join("dist"));
    fs::remove_dir_all(&root).unwrap();

    let server = start_with(|config| {
        config.client_bundle = Some(bundle);
        config.origins = Origins::list(["https://good.example"]);
    });
    for name in FILES {
        for (path, kind) in [
            (format!("/socket.io/{name}"), "application/javascript; charset=utf-8"),
            (format!("/socket.io/{name}?v=1"), "application/javascript; charset=utf-8"),
            (format!("/socket.io/{name}.map"), "application/json; charset=utf-8"),
        ] {
            let headers = [("Origin", "https://good.example"), ("Accept-Encoding", "gzip, br")];
            let response = server.request("GET", &path, &headers, b"");
            assert_eq!(response.status, 200, "{path}");
            assert_eq!(response.header("content-type"), Some(kind));
            assert_eq!(response.header("etag"), Some("\"4.8.1\""));
            assert_eq!(response.header("cache-control"), Some("public, max-age=0"));
            assert_eq!(response.header("content-encoding"), Some("gzip"));
            assert_eq!(response.header("access-control-allow-origin"), Some("https://good.example"));
            let varies = |on: &str| {
                response.head.lines().any(|line| {
                    let line = line.to_ascii_lowercase();
                    line.starts_with("vary:") && line.contains(on)
                })
            };
            assert!(varies("origin") && varies("accept-encoding"), "{}", response.head);

            let cached = server.request("GET", &path, &[("If-None-Match", "W/\"4.8.1\"")], b"");
            assert_eq!((cached.status, cached.body.len()), (304, 0));
        }
    }
    let mut tcp = crate::raw::Tcp::connect(server.address);
    tcp.request("HEAD", "/socket.io/socket.io.js", &[("Connection", "close")], b"");
    let head = String::from_utf8(tcp.rest()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-length: 7000"), "{head}");
    assert_eq!(server.request("POST", "/socket.io/socket.io.js", &[], b"").status, 405);
    // What is no file of it is a request like any other.
    server.request("GET", "/socket.io/socket.io.css", &[], b"").assert_error(400, 0, "Transport unknown");
    server.request("GET", "/socket.io/..%2fpackage.json", &[], b"").assert_error(400, 0, "Transport unknown");
    server.joined();
}

#[test]
fn a_missing_bundle_gives_404() {
    let server = start_with(|config| config.client_bundle = Some(Bundle::open("/nonexistent/dist")));
    let response = server.request("GET", "/socket.io/socket.io.js", &[], b"");
    assert_eq!(response.status, 404);
    assert!(response.text().contains("npm install socket.io-client"));
    server.joined();
}
