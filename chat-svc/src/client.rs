//! The official Socket.IO client as part of the binary, so that `/socket.io/socket.io.js` needs no file beside it. `web/vendor/dist` is a
//! copy of what npm's locked package ships; `make client` writes it.

use std::path::Path;

use socketio::bundle::Bundle;

/// Each file of the client with its content.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../../web/vendor/dist/", $name)))),+]
    };
}

/// The client in `directory`, if the settings name one, else the one of the binary.
pub(crate) fn bundle(directory: Option<&Path>) -> Bundle {
    let Some(directory) = directory else { return embedded() };
    let bundle = Bundle::open(directory);
    if let Some(problem) = bundle.problem() {
        log::warn!("/socket.io/socket.io.js is not served: {problem} (TRIDENT_CLIENT_DIR)");
    }
    bundle
}

fn embedded() -> Bundle {
    let files: [(&str, &'static [u8]); 8] = files![
        "socket.io.js",
        "socket.io.js.map",
        "socket.io.min.js",
        "socket.io.min.js.map",
        "socket.io.esm.min.js",
        "socket.io.esm.min.js.map",
        "socket.io.msgpack.min.js",
        "socket.io.msgpack.min.js.map",
    ];
    Bundle::embedded(&files)
}

#[cfg(test)]
mod tests {
    use actix_web::{
        body::to_bytes,
        http::{
            Method, StatusCode,
            header::{self, HeaderMap},
        },
    };
    use socketio::bundle::FILES;

    use super::*;

    /// All official files are part of the binary, with their source maps, and name the version that the lock file does.
    #[actix_web::test]
    async fn the_binary_contains_the_client_of_the_lock_file() {
        let bundle = bundle(None);
        let lock: serde_json::Value = serde_json::from_str(include_str!("../../web/vendor/package-lock.json")).unwrap();
        assert_eq!(bundle.version(), lock["packages"]["node_modules/socket.io-client"]["version"].as_str());
        for name in FILES {
            let script = bundle.respond(name, &Method::GET, &HeaderMap::new()).await.unwrap();
            assert_eq!(script.status(), StatusCode::OK, "{name}");
            assert!(script.headers().contains_key(header::ETAG));
            let script = to_bytes(script.into_body()).await.unwrap();
            let head = std::str::from_utf8(&script[..200]).unwrap();
            assert!(head.contains("Released under the MIT License"), "{name}: {head}");
            let map = bundle.respond(&format!("{name}.map"), &Method::GET, &HeaderMap::new()).await.unwrap();
            assert_eq!(map.status(), StatusCode::OK, "{name}.map");
            let map = to_bytes(map.into_body()).await.unwrap();
            assert!(serde_json::from_slice::<serde_json::Value>(&map).is_ok(), "{name}.map");
        }
    }

    #[test]
    fn a_configured_directory_replaces_it() {
        let bundle = bundle(Some(Path::new("/nonexistent/dist")));
        assert!(bundle.problem().is_some_and(|problem| problem.contains("/nonexistent/dist")));
    }
}
