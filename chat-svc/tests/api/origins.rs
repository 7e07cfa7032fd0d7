//! Which pages may read the answers to polls.

use edge::testing::Answer;

use crate::site;

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

fn allowed(answer: &Answer) -> [String; 2] {
    ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"].map(|name| answer.header(name))
}

/// A page of `http://site` was allowed to read what `https://site` answers to requests with its cookies: the origin was compared with `Host`
/// alone, by headers that the crate socketio added beside those of the layer.
#[actix_web::test]
async fn page_of_another_scheme_may_not_read_answers() {
    let site = site(&[("TRIDENT_ORIGINS", "none")]);
    let page = format!("http://{}", site.address());
    for (scheme, expected) in [("http", [&*page, "true"]), ("https", ["", ""])] {
        let ask = |path: &str| site.get(path).header("Origin", &page).header("X-Forwarded-Proto", scheme).send();
        let handshake = ask(HANDSHAKE).await;
        assert_eq!((handshake.status, allowed(&handshake)), (200, expected.map(str::to_owned)), "{scheme}");
        let unknown = ask(&format!("{HANDSHAKE}&sid=unknown")).await;
        assert_eq!((unknown.status, allowed(&unknown)), (400, expected.map(str::to_owned)), "{scheme}");
        let client = ask("/socket.io/socket.io.js").await;
        assert_eq!((client.status, allowed(&client)), (200, expected.map(str::to_owned)), "{scheme}");
    }
}
