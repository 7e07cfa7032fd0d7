//! The program as it is run, against the server that it carries itself.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::Command;

fn run(args: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_trident-bench")).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let run = serde_json::from_slice(lines.next().unwrap()).unwrap();
    assert_eq!(lines.next(), None);
    run
}

#[test]
fn everybody_gets_everything_once_and_in_order() {
    let bare = ["--no-pin", "fanout", "--transport", "bare", "--readers", "20", "--seconds", "0.3"];
    for more in [&["--window", "1"][..], &["--window", "16"], &["--window", "16", "--rate", "200"]] {
        let run = run(&[&bare[..], more].concat());
        assert_eq!((&run["scenario"], &run["readers"]), (&"fanout".into(), &20.into()), "{run}");
        let deliveries = run["deliveries"].as_u64().unwrap();
        assert!(deliveries > 100, "{run}");
        assert_eq!((&run["lost"], &run["repeats"], &run["late"]), (&0.into(), &0.into(), &0.into()), "{run}");
        let latency = &run["latency_us"];
        assert!(latency["p50"].as_f64().unwrap() > 0.0 && latency["max"].as_f64() >= latency["p50"].as_f64(), "{run}");
        if more.contains(&"--rate") {
            assert!(run["deliveries_per_second"].as_f64().unwrap() < 200.0 * 20.0 * 1.5, "{run}");
        }
    }
}

#[test]
fn a_publisher_that_waits_is_measured() {
    let run =
        run(&["--no-pin", "sequential", "--transport", "bare", "--readers", "20", "--burst", "8", "--rounds", "5"]);
    assert_eq!((&run["scenario"], &run["readers"], &run["burst"]), (&"sequential".into(), &20.into(), &8.into()));
    assert_eq!((&run["deliveries"], &run["repeats"], &run["late"]), (&(20 * 8 * 5).into(), &0.into(), &0.into()));
    let p50 = |of: &str| run[of]["p50"].as_f64().unwrap();
    assert!(p50("answers_us") > 0.0 && p50("all_us") >= p50("answers_us"), "{run}");
    assert!(run["server_cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{run}");
}

#[test]
fn remote_load_requires_a_flag() {
    let output = Command::new(env!("CARGO_BIN_EXE_trident-bench"))
        .args(["--at", "192.0.2.1:80", "idle", "--transport", "sse", "--connections", "1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"));
}
