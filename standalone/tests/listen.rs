//! `standalone listen` and `standalone publish` against real servers: over every transport, over cut connections, over a
//! restart, and refused.

#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

mod process;

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering::SeqCst},
};

use process::{Server, Talk, free_address, standalone, text, token};
use serde_json::Value;

const TRANSPORTS: [&str; 3] = ["sse", "stream", "longpoll"];

fn listen(base: SocketAddr, args: &[&str]) -> Command {
    let mut command = standalone();
    command.arg("listen").arg(format!("http://{base}")).args(["--channel", "public.a"]).args(args);
    command
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A proxy whose connections can be cut, and which lets nobody in while they are.
struct Proxy {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_cut, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (cut, kept) = (is_cut.clone(), open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut kept = kept.lock().unwrap();
                if cut.load(SeqCst) {
                    continue;
                }
                let upstream = TcpStream::connect(server).unwrap();
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, client)]
                {
                    kept.push(from.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { address, is_cut, open }
    }

    fn cut(&self) {
        let mut open = self.open.lock().unwrap();
        self.is_cut.store(true, SeqCst);
        for connection in open.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_cut.store(false, SeqCst);
    }
}

#[test]
fn every_transport_shows_the_same_and_over_cuts_nothing_is_lost() {
    let server = Server::at(free_address());
    let proxy = Proxy::before(server.address);
    let mut ids = vec![server.publish("public.a", "0")];
    let mut talks: Vec<Talk> = TRANSPORTS
        .iter()
        .map(|name| {
            let args = ["--json", "--since", "earliest", "--transport", name];
            Talk::start(&mut listen(proxy.address, &args))
        })
        .collect();
    for talk in &talks {
        assert_eq!(json(&talk.out())["data"], "0");
    }
    for round in 0..3 {
        // Some while it is connected, some while it is not, some while it reconnects.
        ids.push(server.publish("public.a", "up"));
        for talk in &talks {
            assert_eq!(json(&talk.out())["id"], *ids.last().unwrap(), "round {round}");
        }
        proxy.cut();
        let missed = [(); 5].map(|()| server.publish("public.a", "cut"));
        talks.iter().for_each(|talk| drop(talk.err("retrying in")));
        proxy.mend();
        ids.extend(missed);
        ids.push(server.publish("public.a", "mended"));
        for talk in &talks {
            let shown: Vec<Value> = (0..6).map(|_| json(&talk.out())["id"].clone()).collect();
            assert_eq!(shown, ids[ids.len() - 6..], "round {round}");
        }
    }
    for talk in &mut talks {
        talk.interrupt();
        assert!(talk.ended().success());
        assert!(talk.err("last cursor").contains(&format!("--channel public.a --since {}", ids.last().unwrap())));
        assert_eq!(talk.rest(), [""; 0], "nothing twice");
    }
}

#[test]
fn a_restart_that_loses_the_log_is_reported_as_a_gap() {
    let address = free_address();
    let server = Server::at(address);
    let talks = TRANSPORTS.map(|name| {
        let args = ["--json", "--since", "earliest", "--transport", name];
        (name, Talk::start(&mut listen(address, &args)))
    });
    let before = server.publish("public.a", "before");
    for (_, talk) in &talks {
        assert_eq!(json(&talk.out())["id"], before);
    }
    drop(server);
    for (_, talk) in &talks {
        talk.err("retrying in");
    }
    let server = Server::at(address);
    let after = server.publish("public.a", "after");
    for (name, talk) in &talks {
        let gap = json(&talk.out());
        assert_eq!(gap["gap"]["requested"], before, "{name}: {gap}");
        assert_eq!(json(&talk.out())["id"], after, "{name}");
    }
}

#[test]
fn it_exits_when_all_its_streams_have_ended() {
    let server = Server::at(free_address());
    let token = token(&["--publish", "*"]);
    let ask = |method: &str, stream: &str, header: &str| {
        let answer = server.ask(&format!(
            "{method} /streams/{stream} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n",
        ));
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    };
    let streams = ["public.a", "public.b"];
    streams.iter().for_each(|stream| ask("PUT", stream, ""));
    let first = server.publish("public.a", "first");
    let mut talks = TRANSPORTS.map(|name| {
        let args = ["--channel", "public.b", "--json", "--since", "earliest", "--transport", name];
        Talk::start(&mut listen(server.address, &args))
    });
    for talk in &talks {
        assert_eq!(json(&talk.out())["id"], first);
    }
    ask("POST", "public.a", "Stream-Closed: true\r\n");
    for (talk, name) in talks.iter().zip(TRANSPORTS) {
        let end = &json(&talk.out())["end"];
        assert_eq!((&end["channel"], &end["reason"]), (&"public.a".into(), &"closed".into()), "{name}");
    }
    let second = server.publish("public.b", "second");
    for (talk, name) in talks.iter().zip(TRANSPORTS) {
        assert_eq!(json(&talk.out())["id"], second, "{name}");
    }
    ask("DELETE", "public.b", "");
    for (talk, name) in talks.iter_mut().zip(TRANSPORTS) {
        let end = &json(&talk.out())["end"];
        assert_eq!((&end["channel"], &end["reason"]), (&"public.b".into(), &"deleted".into()), "{name}");
        assert!(talk.ended().success(), "{name}");
        assert_eq!(talk.rest(), [""; 0], "{name}");
    }
}

#[test]
fn in_text_it_is_for_eyes() {
    let server = Server::at(free_address());
    server.publish("public.a", "hello\u{1b}[31m");
    let mut talk = Talk::start(&mut listen(server.address, &["--since", "earliest", "--count", "1"]));
    let line = talk.out();
    assert!(line.ends_with("  public.a  hello\\u{1b}[31m") && line.as_bytes()[2] == b':', "{line:?}");
    assert!(talk.ended().success(), "it ends by itself after --count");
    let mut always = listen(server.address, &["--since", "earliest", "--count", "1", "--color", "always"]);
    assert!(Talk::start(&mut always).out().starts_with("\u{1b}[2m"));
}

#[test]
fn a_rejected_client_gets_the_reason() {
    let server = Server::at(free_address());
    let run = |channel: &str, token: Option<&str>| {
        let mut command = listen(server.address, &["--channel", channel]);
        token.map(|token| command.env("TRIDENT_TOKEN", token));
        let mut talk = Talk::start(&mut command);
        assert_eq!(talk.ended().code(), Some(1));
        talk.err("standalone: ")
    };
    let without = run("secret", None);
    assert!(without.contains("401") && without.contains("TRIDENT_TOKEN"), "{without}");
    let told = run("secret", Some("no.token.atall"));
    assert!(told.contains("401") && told != without, "{told}");
    let told = run("secret", Some(&token(&["--subscribe", "other"])));
    assert!(told.contains("403") && told.contains("secret"), "{told}");
    let unusable = standalone().args(["listen", "ftp://x", "--channel", "a b"]).output().unwrap();
    assert_eq!(unusable.status.code(), Some(2));
}

#[test]
fn what_is_published_is_listened_to() {
    let server = Server::at(free_address());
    let token = token(&["--publish", "*", "--subscribe", "*"]);
    let base = format!("http://{}", server.address);
    let publish = |args: &[&str]| {
        let mut command = standalone();
        command.args(["publish", &base, "--channel", "jobs"]).args(args).env("TRIDENT_TOKEN", &token);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let first = publish(&["--data", "{\"n\":1}", "--event", "made \u{fc}"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let many = publish(&["--text", "{", "--channel", "public.a", "--key", "k"]);
    let again = publish(&["--text", "{", "--channel", "public.a", "--key", "k"]);
    assert_eq!(text(&many.stdout).lines().count(), 2);
    assert_eq!(many.stdout, again.stdout, "one key, one publication");
    assert!(text(&publish(&["--data", "{"]).stderr).contains("--text"));
    assert_eq!(publish(&["--data", "1", "--key", ""]).status.code(), Some(1), "400 is not tried again");

    let mut command = standalone();
    command.args(["listen", &base, "--channel", "jobs", "--json", "--since", "earliest", "--count", "2"]);
    let talk = Talk::start(command.env("TRIDENT_TOKEN", &token));
    let (one, two) = (json(&talk.out()), json(&talk.out()));
    assert_eq!((&one["data"]["n"], &one["event"]), (&Value::from(1), &Value::from("made \u{fc}")));
    assert_eq!((two["data"].as_str(), two["id"].as_str()), (Some("{"), text(&many.stdout).lines().next()));
}

/// The head of a request and its body, and then an answer.
fn serve(mut stream: impl Read + Write, answer: &str) -> String {
    let mut reader = BufReader::new(&mut stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "{head}");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    stream.write_all(answer.as_bytes()).unwrap();
    stream.flush().unwrap();
    head
}

fn key(head: &str) -> String {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("idempotency-key:"));
    line.unwrap().split(": ").nth(1).unwrap().to_owned()
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 13\r\n\r\n{\"id\":\"5-17\"}";

#[test]
fn publishing_tries_again_under_the_same_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let publisher = standalone()
        .args(["publish", &base, "--channel", "a", "--text", "x"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let away = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let begun = std::time::Instant::now();
    let first = serve(listener.accept().unwrap().0, away);
    let second = serve(listener.accept().unwrap().0, CREATED);
    assert!(begun.elapsed().as_secs_f64() >= 1.0, "Retry-After was waited for");
    assert_eq!(key(&first), key(&second));
    let output = publisher.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "5-17\n", "{}", text(&output.stderr));
}

#[test]
fn a_server_over_tls_proves_itself() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = std::env::temp_dir().join(format!("trident-listen-{}.pem", std::process::id()));
    std::fs::write(&file, made.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let publish = || {
        let mut command = standalone();
        command.args(["publish", &format!("https://localhost:{port}"), "--channel", "a", "--text", "x"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let accept = || {
        let (stream, _) = listener.accept().unwrap();
        rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream)
    };

    let trusting = publish().env("SSL_CERT_FILE", &file).spawn().unwrap();
    let head = serve(accept(), CREATED);
    assert!(head.starts_with("POST /events?channel=a HTTP/1.1"), "{head}");
    assert_eq!(text(&trusting.wait_with_output().unwrap().stdout), "5-17\n");

    // Another server's certificate is rejected.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&file, other.cert.pem()).unwrap();
    let wary = Talk::start(publish().env("SSL_CERT_FILE", &file));
    let refused = std::thread::scope(|scope| {
        let served = scope.spawn(|| accept().read(&mut [0; 64]));
        let told = wary.err("retrying in");
        let _ = served.join().unwrap();
        told
    });
    assert!(refused.contains("certificate"), "{refused}");
    drop(wary);
    std::fs::remove_file(file).unwrap();
}
