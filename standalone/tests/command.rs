//! The command as it is typed: tokens, faults, and what is said at the start.

#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

mod process;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Output,
    time::Instant,
};

use edge::testing::{documented::redis_rights, redis};
use process::{PATIENCE, SECRET, Server, Talk, free_address, standalone, text};

fn token(args: &[&str]) -> Output {
    standalone().env("TRIDENT_SECRET", SECRET).arg("token").args(args).output().unwrap()
}

#[test]
fn a_token_is_all_that_is_printed() {
    let output = token(&["--publish", "news*", "--subscribe", "news*,jobs", "--ttl", "90s", "--sub", "backend"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let token = text(&output.stdout).strip_suffix('\n').unwrap();
    let claims = claims(token);
    assert_eq!(claims["sub"], "backend");
    assert_eq!(claims["trident"].get("api"), None);
    assert_eq!(claims["trident"]["publish"], serde_json::json!(["news*"]));
    assert_eq!(claims["trident"]["subscribe"], serde_json::json!(["news*", "jobs"]));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let left = claims["exp"].as_f64().unwrap() - now;
    assert!((60.0..=91.0).contains(&left), "{left} s left of 90");
}

fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// For backends: with the time and the id that revocations need.
#[test]
fn a_token_for_a_backend_has_its_right() {
    for right in ["read", "write"] {
        let output = token(&["--api", right]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let claims = claims(text(&output.stdout).trim_end());
        assert_eq!(claims["trident"]["api"], serde_json::json!([right]));
        assert!(claims["iat"].is_number() && claims["jti"].is_string(), "{claims}");
    }
    let output = token(&["--api", "all"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("read, write"), "{}", text(&output.stderr));
}

#[test]
fn a_token_takes_a_secret_and_patterns_that_are_some() {
    let output = standalone().args(["token", "--publish", "a"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("TRIDENT_SECRET"), "{}", text(&output.stderr));
    for args in [["--publish", "a b"], ["--publish", "*a"], ["--ttl", "soon"]] {
        let output = token(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(args[1]), "{}", text(&output.stderr));
    }
}

#[test]
fn all_faults_of_the_settings_are_reported() {
    let mut command = standalone();
    command.env("TRIDENT_KEEPALIVE", "soon").env("TRIDENT_MAX_BODY", "64 kilos").env("TRIDENT_SECRET", "short");
    let output = command.arg("--workers=many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for setting in ["TRIDENT_KEEPALIVE", "TRIDENT_MAX_BODY", "TRIDENT_SECRET", "TRIDENT_WORKERS"] {
        assert!(told.contains(setting), "{setting} in {told}");
    }
    assert!(!told.contains("short"), "a secret is never printed: {told}");
}

#[test]
fn without_a_key_it_makes_one_and_says_how_to_publish_with_it() {
    let server = Server::start();
    let token = server.said.split("Bearer ").nth(1).unwrap().split('\'').next().unwrap();
    let answer = server.ask(&format!(
        "POST /events?channel=public.hello HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nHello"
    ));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    for channel in ["public.hello", "random", "time"] {
        let answer = server.ask(&format!(
            "GET /data?channel={channel}&since=earliest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.contains("\"messages\":[{"), "{channel}: {answer}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = standalone().env("TRIDENT_LISTEN", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}

#[test]
fn a_check_prints_the_effective_settings_without_secrets() {
    let mut command = standalone();
    command.env("TRIDENT_SECRET", SECRET).env("TRIDENT_BUS", "redis://me:hidden@127.0.0.1:1");
    let output = command.args(["check", "--keepalive", "5s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let told_plainly = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "TRIDENT_KEEPALIVE = 5s # flag",
        "TRIDENT_SECRET = (not shown) # environment",
        "TRIDENT_BUS = redis://…@127.0.0.1:1 # environment",
        "TRIDENT_MAX_BODY = 64KiB",
        "# Limits",
    ] {
        assert!(told_plainly.contains(line), "{line} in {told}");
    }
    let cut = standalone().arg("check").stdout(std::process::Stdio::piped()).spawn().map(|mut check| {
        drop(check.stdout.take());
        check.wait()
    });
    assert!(cut.unwrap().unwrap().success(), "a closed pipe is no fault of the settings");
    assert!(!told.contains(SECRET) && !told.contains("hidden"), "{told}");

    let unknown = standalone().arg("check").env("TRIDENT_MAX_BODI", "1").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
    assert!(text(&unknown.stderr).contains("did you mean TRIDENT_MAX_BODY?"), "{}", text(&unknown.stderr));
    let empty = standalone().arg("check").env("TRIDENT_SECRET", "").output().unwrap();
    assert_eq!(empty.status.code(), Some(0), "{}", text(&empty.stderr));
    assert!(text(&empty.stderr).contains("TRIDENT_SECRET is set, but empty"), "{}", text(&empty.stderr));
    let orchestrated = standalone().arg("check").env("TRIDENT_SERVICE_HOST", "10.0.0.1").output().unwrap();
    assert_eq!(orchestrated.status.code(), Some(0), "{}", text(&orchestrated.stderr));
}

#[test]
fn a_check_reports_every_fault_and_whether_the_bus_is_available() {
    let faulty = standalone().args(["check", "--keepalive", "soon"]).env("TRIDENT_WORKERS", "many").output().unwrap();
    assert_eq!(faulty.status.code(), Some(2));
    let told = text(&faulty.stderr);
    assert!(told.contains("TRIDENT_KEEPALIVE") && told.contains("TRIDENT_WORKERS"), "{told}");

    let check = |bus: &str| standalone().args(["check", "--reach-bus", "--bus", bus]).output().unwrap();
    assert_eq!(check("memory").status.code(), Some(0));
    // A port that nobody listens on: the listener is gone, and nothing else is given its number so soon.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = check(&format!("redis://:hidden@{nobody}"));
    assert_eq!(away.status.code(), Some(1));
    let told = text(&away.stderr);
    assert!(told.contains("TRIDENT_BUS") && !told.contains("hidden"), "{told}");
}

/// Case 8.2: a check names the rights that a server would lack on its Redis, of all that uses it.
#[actix_web::test]
async fn a_check_names_the_rights_that_are_missing() {
    let server = redis::Server::start().await;
    let rights = redis_rights();
    let user: Vec<&str> = ["ACL", "SETUSER", "trident"].into_iter().chain(rights.iter().map(String::as_str)).collect();
    server.command(&user).await;
    let url = server.url().replace("redis://", "redis://trident:let-me-in-please@");
    let check = || standalone().args(["check", "--reach-bus", "--bus", &url]).output().unwrap();
    let well = check();
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    server.command(&["ACL", "SETUSER", "trident", "-xtrim", "-hget", "-psubscribe"]).await;
    let refused = check();
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    for part in ["redis_rights: ", "XTRIM", "session_store: ", "HGET", "socket_cluster: ", "psubscribe"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("let-me-in"), "{told}");
}

#[test]
fn help_groups_settings_and_keeps_them_from_commands_that_have_none() {
    let help = |args: &[&str]| standalone().args(args).arg("--help").output().unwrap().stdout;
    let all = help(&[]);
    for part in ["Server:", "Limits (0 = no limit):", "Durations: 500ms", "listen", "publish", "check", "token"] {
        assert!(text(&all).contains(part), "{part}");
    }
    assert!(text(&help(&["check"])).contains("TRIDENT_MAX_AGE"));
    for command in ["listen", "publish"] {
        let help = help(&[command]);
        assert!(!text(&help).contains("TRIDENT_MAX_AGE") && text(&help).contains("--channel"), "{}", text(&help));
    }
}

/// The log was created, or locked and read, before the port was tried.
#[test]
fn a_port_in_use_is_noticed_before_a_log_is_created() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = std::env::temp_dir().join(format!("trident-port-{:016x}", rand::random::<u64>()));
    let mut command = standalone();
    command.env("TRIDENT_LISTEN", taken.local_addr().unwrap().to_string());
    let output = command.env("TRIDENT_BUS", format!("file:{}", directory.display())).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("TRIDENT_LISTEN"), "{}", text(&output.stderr));
    assert!(!directory.exists());
}

/// The process ended at once, and cut all connections, when an operator expected SIGHUP to reload its settings.
#[test]
fn sighup_without_a_terminal_is_ignored() {
    let address = free_address().to_string();
    let mut command = standalone();
    command.env("TRIDENT_LISTEN", &address).env("TRIDENT_SECRET", SECRET).env("RUST_LOG", "info");
    let mut server = Talk::start(&mut command);
    server.err("token --help");
    server.err("listening on");
    for _ in 0..2 {
        server.signal("HUP");
        server.err("SIGHUP is ignored");
    }
    assert!(TcpStream::connect(&address).is_ok());
    server.signal("TERM");
    assert!(server.ended().success());
}

/// Streams were cut without their end when a terminal was closed.
#[cfg(target_os = "linux")]
#[test]
fn closing_the_terminal_ends_streams() {
    let address = free_address();
    // It is a terminal for the server, and closed with its process.
    let mut command = std::process::Command::new("script");
    command.args(["-qfc", concat!("exec ", env!("CARGO_BIN_EXE_standalone")), "/dev/null"]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("RUST_LOG", "info");
    command.env("TRIDENT_LISTEN", address.to_string()).env("TRIDENT_SECRET", SECRET).env("TRIDENT_DEMO", "off");
    let mut terminal = Talk::start(&mut command);
    while !terminal.out().contains("listening on") {}
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /events?channel=public.a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", text(&answer[..count]));
    terminal.signal("KILL");
    terminal.ended();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "{}", text(&rest));
}

/// The process is killed while messages are published; each one that was acknowledged is there once, under its id, and nobody gets a gap.
#[test]
fn a_killed_process_loses_nothing_on_disk() {
    let kills: usize = std::env::var("TRIDENT_TEST_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let directory = std::env::temp_dir().join(format!("trident-kill-{:016x}", rand::random::<u64>()));
    let bus = format!("file:{}", directory.display());
    let settings = [("TRIDENT_SECRET", SECRET), ("TRIDENT_DEMO", "off"), ("TRIDENT_BUS", &*bus)];
    let address = free_address();
    let bearer = process::token(&["--publish", "*", "--subscribe", "*"]);
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for round in 0..=kills {
        let server = Server::with(address, &settings, "token --help");
        if !acknowledged.is_empty() {
            let path = format!("/data?channel=kill&since={}&limit=1000&mode=poll", acknowledged[0].0);
            let answer = server.ask(&format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n\r\n"
            ));
            assert!(answer.contains("\"gap\":false"), "{answer}");
            for (id, text) in &acknowledged[1..] {
                assert_eq!(answer.matches(&format!("\"id\":\"{id}\",")).count(), 1, "{id} in round {round}");
                assert_eq!(answer.matches(&format!("\"data\":\"{text}\"")).count(), 1, "{text} in round {round}");
            }
        }
        let publishers: Vec<_> = (0..4)
            .map(|publisher| {
                let bearer = bearer.clone();
                std::thread::spawn(move || publish_until_the_end(address, &bearer, &format!("{round}-{publisher}")))
            })
            .collect();
        // In the midst of it.
        while server
            .ask("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .contains("trident_publishes_total 0\n")
        {}
        drop(server);
        acknowledged.extend(publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()));
        acknowledged.truncate(800);
        acknowledged.sort();
    }
    assert!(acknowledged.len() > kills, "{acknowledged:?}");

    let log = |name: &str| standalone().args(["log", name]).arg(&directory).output().unwrap();
    let sound = log("verify");
    assert!(sound.status.success() && text(&sound.stdout).contains("no damage"), "{sound:?}");
    let segment = directory.join("0000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let damaged = log("verify");
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged.stdout).contains("0000000000000001.log is damaged after byte"), "{damaged:?}");
    assert!(text(&log("repair").stdout).contains("were cut"));
    assert!(log("verify").status.success());
    let server = Server::with(address, &settings, "token --help");
    // The damage may have been in the first message.
    let newest = server.publish("kill", "after the repair");
    let in_use = log("verify");
    assert!(text(&in_use.stderr).contains("in use by process"), "{in_use:?}");
    let info = log("info");
    assert!(text(&info.stdout).starts_with("used by process"), "{info:?}");
    let (copy, new) = (directory.with_extension("copy"), directory.with_extension("new"));
    let run = |args: [&std::ffi::OsStr; 5]| {
        standalone().args(args.into_iter().filter(|arg| !arg.is_empty())).output().unwrap()
    };
    let backup = run(["log".as_ref(), "backup".as_ref(), directory.as_ref(), copy.as_ref(), "".as_ref()]);
    assert!(backup.status.success() && text(&backup.stdout).contains(&format!("up to message {newest}")), "{backup:?}");
    drop(server);
    let import = run(["log".as_ref(), "import".as_ref(), new.as_ref(), "--from".as_ref(), directory.as_ref()]);
    assert!(import.status.success() && text(&import.stdout).contains("messages, from"), "{import:?}");
    for directory in [directory, copy, new] {
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// Publishes one message after the other, at most fifty; the ids and texts of those that were acknowledged.
fn publish_until_the_end(address: SocketAddr, bearer: &str, name: &str) -> Vec<(String, String)> {
    let mut acknowledged = Vec::new();
    for n in 0..50 {
        let text = format!("{name}-{n}");
        let request = format!(
            "POST /events?channel=kill HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        let mut answer = String::new();
        let sent = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut answer)
        });
        match answer.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
            Some(id) if sent.is_ok() => acknowledged.push((id.to_owned(), text)),
            _ => break,
        }
    }
    acknowledged
}

#[test]
fn each_request_is_logged_when_its_response_has_ended() {
    let address = free_address();
    let mut command = standalone();
    command.env("RUST_LOG", "off,access=info").env("TRIDENT_LISTEN", address.to_string()).env("TRIDENT_SECRET", SECRET);
    let server = Talk::start(command.env("TRIDENT_ACCESS_LOG", "on").env("TRIDENT_LOG", "json"));
    let ask = |head: &str| {
        let until = Instant::now() + PATIENCE;
        let mut stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        };
        stream.write_all(format!("{head} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        stream
    };

    // A stream lasts. Its line comes at its end, after that of a request that came later.
    let stream = ask("GET /events?channel=public.a");
    drop(ask("GET /nothing%0Ahere"));
    let line = server.err("GET");
    assert!(line.contains(r#""target":"access","message":"GET /nothing%0Ahere""#), "{line}");
    assert!(line.contains(r#""status":404,"address":"127.0.0.1","ms":"#), "{line}");
    drop(stream);
    let line = server.err("GET");
    assert!(line.contains(r#""message":"GET /events""#) && line.contains(r#""status":200"#), "{line}");

    // A client that leaves before there is an answer.
    let mut gone = TcpStream::connect(address).unwrap();
    gone.write_all(b"GET /data?channel=public.a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    drop(gone);
    server.err("GET /data was aborted by the client");
}
