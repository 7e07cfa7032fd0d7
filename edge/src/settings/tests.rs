use proptest::prelude::*;

use shared::live::bus::file::Fsync;

use super::*;

const SERVICE: ServiceDefaults =
    ServiceDefaults { name: "test-svc", about: "A service.", version: "1.2.3", listen: "0.0.0.0:8083" };
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let settings = Settings::from_sources(&SERVICE, args.iter().copied(), env.iter().copied());
    settings.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = read(&[], &[]).unwrap();
    assert_eq!(settings.bus, BusAddress::Memory);
    assert_eq!(settings.listen, "0.0.0.0:8083".parse().unwrap());
    assert!(settings.workers >= 1);
    assert_eq!(settings.retention, Retention { count: Some(1000), bytes: Some(8 << 20), age_ms: Some(3_600_000) });
    let history = Some(memory::history_total(settings.memory));
    assert_eq!((settings.history_total, settings.max_body), (history, Some(64 << 10)));
    assert_eq!((settings.ping_interval, settings.ping_timeout), (Duration::from_secs(25), Duration::from_secs(20)));
    assert_eq!((settings.keepalive, settings.max_age), (Duration::from_secs(15), Some(Duration::from_secs(600))));
    assert_eq!(settings.public.to_string(), "random,time,chat.*,public.*");
    assert!(settings.origins.allows("http://localhost:3000", None) && settings.demo);
    assert_eq!((settings.log, settings.max_connections_per_address), (LogFormat::Text, None));
    assert!(settings.secrets.is_empty() && settings.public_keys.is_empty() && settings.warnings.is_empty());
}

#[test]
fn flags_take_precedence_over_the_environment_and_that_over_defaults() {
    let env = [("TRIDENT_MAX_BODY", "1KiB"), ("TRIDENT_LISTEN", ":9"), ("TRIDENT_MAX_AGE", "")];
    let settings = read(&["--max-body", "2KiB"], &env).unwrap();
    assert_eq!(settings.max_body, Some(2048));
    assert_eq!(settings.listen, "0.0.0.0:9".parse().unwrap());
    assert_eq!(settings.max_age, Some(Duration::from_secs(600)), "set but empty is not set");
    assert_eq!(read(&["--max-body=0"], &env).unwrap().max_body, None, "0 is no limit");
}

#[test]
fn all_faults_are_reported_with_their_settings() {
    let faults = read(
        &["--workers", "0", "--demo", "maybe"],
        &[
            ("TRIDENT_BUS", "http://x"),
            ("TRIDENT_KEEPALIVE", "15"),
            ("TRIDENT_SECRET", "short"),
            ("TRIDENT_PUBLIC", "a*b"),
        ],
    )
    .unwrap_err();
    let expected = [
        "TRIDENT_BUS (--bus): invalid bus address: expected `memory`, `file:<directory>` or",
        "TRIDENT_WORKERS (--workers): invalid number of threads `0`: expected 1 to 512",
        "TRIDENT_KEEPALIVE (--keepalive): invalid duration `15`: expected",
        "TRIDENT_SECRET (--secret): a secret needs at least 32 bytes (RFC 7518 §3.2), and this one has 5",
        "TRIDENT_PUBLIC (--public): invalid pattern `a*b`",
        "TRIDENT_DEMO (--demo): invalid value `maybe`: expected `on` or `off`",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}");
    }
}

#[test]
fn each_setting_refuses_what_is_wrong_and_says_what_is_accepted() {
    for (flag, bad) in [
        ("--listen", &["", "8080", "example.org:80", "1.2.3.4", "1.2.3.4:99999"][..]),
        ("--history-count", &["-1", "1.5", "many"]),
        ("--history-bytes", &["8 MiB x", "MiB", "1e6", "99999999999GiB", "-1"]),
        ("--history-age", &["1", "h", "1h30", "1y", "99999999999d", "1.5h", "-1s"]),
        ("--keepalive", &["0", "0s"]),
        ("--io-uring", &["", "yes"]),
        ("--ping-interval", &["0", "0s"]),
        ("--ping-timeout", &["0s"]),
        ("--header-timeout", &["0", "999ms"]),
        ("--publish-rate", &["fast", "-1", "4294967296"]),
        ("--origins", &["localhost", "https://*.example.org"]),
        ("--trusted-proxies", &["10.0.0.0/33", "proxy"]),
        ("--log", &["xml"]),
        ("--client-dir", &["/nowhere/at/all"]),
        ("--jwt-public-key-file", &["/nowhere/at/all.pem"]),
        ("--secret-file", &["/nowhere/at/all"]),
        ("--redis-ca-file", &["/nowhere/at/all", "/dev/null", "Cargo.toml"]),
        (
            "--bus",
            &[
                "redis",
                "redis://",
                "redis://:1",
                "redis://h:0",
                "redis://h:x",
                "redis://h/x",
                "redis://[::1",
                "redis://a b",
            ],
        ),
    ] {
        for bad in bad {
            let faults = read(&[flag, bad], &[]).unwrap_err();
            assert_eq!(faults.len(), 1, "{flag} {bad}: {faults:?}");
            assert!(faults[0].contains(&format!("({flag}): ")), "{flag} {bad}: {faults:?}");
        }
    }
}

#[test]
fn an_unknown_flag_is_reported_by_the_parser() {
    let faults = read(&["--max-bodies", "1"], &[]).unwrap_err();
    assert!(faults[0].contains("--max-bodies") && faults[0].contains("--max-body"), "{faults:?}");
}

#[test]
fn unknown_variables_are_reported_beside_invalid_values() {
    let faults = read(&[], &[("TRIDENT_HISTORY_COUNT", "x"), ("TRIDENT_FOO", "1")]).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].starts_with("TRIDENT_HISTORY_COUNT") && faults[1].contains("TRIDENT_FOO has no effect"),
        "{faults:?}"
    );
}

#[test]
fn unknown_variables_are_reported_unless_an_orchestrator_set_them() {
    let settings = read(
        &[],
        &[
            ("TRIDENT_KEEP_ALIVE", "15s"),
            ("TRIDENT_COLOUR", "red"),
            ("TRIDENT_FOO", "1"),
            ("TRIDENT_PORT", "tcp://10.0.0.1:80"),
            ("TRIDENT_SERVICE_HOST", "10.0.0.1"),
            ("TRIDENT_SERVICE_PORT_HTTP", "80"),
            ("TRIDENT_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("OTHER", "x"),
        ],
    )
    .unwrap();
    assert_eq!(
        settings.unknown,
        [
            "unknown setting TRIDENT_COLOUR has no effect; --help lists all settings",
            "unknown setting TRIDENT_FOO has no effect; --help lists all settings",
            "unknown setting TRIDENT_KEEP_ALIVE has no effect; did you mean TRIDENT_KEEPALIVE?",
        ]
    );
}

#[test]
fn more_for_a_channel_than_for_all_is_warned_of() {
    let warnings = read(&["--history-total", "1MiB"], &[]).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("TRIDENT_HISTORY_TOTAL"), "{warnings:?}");
}

#[test]
fn bus_addresses_are_parsed_or_rejected() {
    for good in [
        "redis://h",
        "redis://h:6379/0",
        "rediss://u:p@h:1/2",
        "redis://:p@ss@h",
        "redis://[::1]:6379",
        "redis://h/?protocol=resp3",
    ] {
        let BusAddress::Redis(address) = read(&["--bus", good], &[]).unwrap().bus else { panic!("{good}") };
        assert_eq!(address.url(), good);
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let bus = "redis://user:hunter2@h:1/0";
    let settings = read(&["--secret", SECRET, "--bus", bus], &[]).unwrap();
    let printed = format!("{settings:?} {:?} {}", settings.bus, settings.bus);
    assert!(!printed.contains("hunter2") && !printed.contains(SECRET), "{printed}");
    assert!(printed.contains("redis://…@h:1/0"), "{printed}");
    for bad in ["redis://user:hunter2@h:x", "http://user:hunter2@h", "redis://user:hunter2@"] {
        let faults = read(&["--bus", bad], &[]).unwrap_err();
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
    let faults = read(&[], &[("TRIDENT_SECRET", "hunter2")]).unwrap_err();
    assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
}

#[test]
fn a_secret_may_be_in_a_file_but_not_in_two_places() {
    let file = std::env::temp_dir().join(format!("trident-secret-{}", std::process::id()));
    std::fs::write(&file, format!("{SECRET}\r\n")).unwrap();
    let path = file.to_str().unwrap();
    let settings = read(&["--secret-file", path], &[]).unwrap();
    assert_eq!(settings.secrets[0].as_bytes(), SECRET.as_bytes());
    let faults = read(&["--secret-file", path, "--secret", SECRET], &[]).unwrap_err();
    assert!(faults.len() == 1 && faults[0].contains("both this and TRIDENT_SECRET are set"), "{faults:?}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn secrets_are_exchanged_by_naming_two() {
    let (new, old) = ("n".repeat(32), "o".repeat(32));
    let base64 = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
    let read = |text: &str| {
        let secrets = read(&["--secret", text], &[]).unwrap().secrets;
        let told = |secret: &Secret| {
            (secret.kid().map(ToOwned::to_owned), String::from_utf8(secret.as_bytes().to_vec()).unwrap())
        };
        secrets.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(read(&format!("{new}, {old},")), [(None, new.clone()), (None, old.clone())]);
    assert_eq!(read(&format!("2026={new},{old}")), [(Some("2026".to_owned()), new.clone()), (None, old.clone())]);
    assert_eq!(read(base64), [(None, base64.to_owned())], "what ends in `=` has no name");
    assert_eq!(read(&format!("k={base64}")), [(Some("k".to_owned()), base64.to_owned())]);
    for bad in [format!("{new},short"), format!("a={new},a={old}")] {
        let faults = super::tests::read(&["--secret", &bad], &[]).unwrap_err();
        assert!(faults.len() == 1 && !faults[0].contains(&new) && !faults[0].contains("short"), "{faults:?}");
    }
    let file = std::env::temp_dir().join(format!("trident-secrets-{}", std::process::id()));
    std::fs::write(&file, format!("2026={new}\r\n\n{old}\n")).unwrap();
    let settings = super::tests::read(&["--secret-file", file.to_str().unwrap()], &[]).unwrap();
    assert_eq!(settings.secrets.iter().map(Secret::kid).collect::<Vec<_>>(), [Some("2026"), None]);
    std::fs::write(&file, "\n").unwrap();
    assert!(super::tests::read(&["--secret-file", file.to_str().unwrap()], &[]).is_err());
    std::fs::remove_file(file).unwrap();
}

#[test]
fn sizes_and_durations() {
    for (text, bytes) in [
        ("0", 0),
        ("1000000", 1_000_000),
        ("64KiB", 65_536),
        ("8mib", 8 << 20),
        ("1GiB", 1 << 30),
        ("2kB", 2000),
        ("3M", 3_000_000),
        ("7B", 7),
    ] {
        assert_eq!(values::size(text), Ok(bytes), "{text}");
    }
    for (text, ms) in [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500),
        ("15s", 15_000),
        ("10m", 600_000),
        ("1h", 3_600_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("1m500ms", 60_500),
    ] {
        assert_eq!(values::duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
}

/// The flags stay usable by subcommands, before and after the subcommand's name.
#[test]
fn a_binary_may_add_subcommands() {
    let command = || {
        let token = clap::Command::new("token").arg(clap::Arg::new("ttl").long("ttl"));
        Settings::augment(clap::Command::new("x").no_binary_name(true), &SERVICE)
            .subcommand(Settings::augment(token, &SERVICE))
            .subcommand(clap::Command::new("listen"))
    };
    command().try_get_matches_from(["listen", "--secret", SECRET]).unwrap_err();
    for args in [["--secret", SECRET, "token", "--ttl", "1h"], ["token", "--ttl", "1h", "--secret", SECRET]] {
        let matches = command().try_get_matches_from(args).unwrap();
        let settings = Settings::from_matches(&matches, [], &SERVICE).unwrap();
        assert_eq!(settings.secrets[0].as_bytes(), SECRET.as_bytes(), "{args:?}");
        assert_eq!(matches.subcommand_matches("token").unwrap().get_one::<String>("ttl").unwrap(), "1h");
    }
}

#[test]
fn effective_settings_are_shown_without_secrets() {
    let command = Settings::augment(clap::Command::new("x").no_binary_name(true), &SERVICE);
    let matches = command.try_get_matches_from(["--max-body", "1KiB", "--jwt-audience", "a\u{1b}b"]).unwrap();
    let env = |bus: &str| {
        let env = [("TRIDENT_SECRET", SECRET), ("TRIDENT_BUS", bus), ("TRIDENT_MAX_AGE", "")];
        env.map(|(name, value)| (name.into(), value.into()))
    };
    let told = |bus: &str| Settings::effective(&matches, env(bus), &SERVICE);
    let effective = told("redis://me:hidden@host/1");
    assert_eq!(effective.len(), table::ALL.len());
    for (variable, value, origin) in [
        ("TRIDENT_MAX_BODY", "1KiB", Origin::Flag),
        ("TRIDENT_JWT_AUDIENCE", "a\\u{1b}b", Origin::Flag),
        ("TRIDENT_SECRET", "(not shown)", Origin::Environment),
        ("TRIDENT_BUS", "redis://…@host/1", Origin::Environment),
        ("TRIDENT_MAX_AGE", "10m", Origin::Default),
        ("TRIDENT_LISTEN", "0.0.0.0:8083", Origin::Default),
        ("TRIDENT_SECRET_FILE", "", Origin::Default),
    ] {
        let found = effective.iter().find(|setting| setting.variable == variable).unwrap();
        assert_eq!((found.value.as_str(), found.origin), (value, origin), "{variable}");
    }
    let told = told("rediss:me:hidden@host");
    let bus = told.iter().find(|setting| setting.variable == "TRIDENT_BUS").unwrap();
    assert_eq!(bus.value, "(not shown)");
}

#[test]
fn a_bus_on_disk_has_a_directory_and_defaults_of_its_own() {
    let bus = |text| read(&["--bus", text], &[]).map(|settings| settings.bus);
    for (text, path) in [("file:/var/lib/t", "/var/lib/t"), ("file:///var/lib/t", "/var/lib/t"), ("file:data", "data")]
    {
        assert_eq!(bus(text).unwrap(), BusAddress::File(path.into()), "{text}");
    }
    assert_eq!(bus("file:/a").unwrap().to_string(), "file:/a");
    for bad in ["file:", "file://host/a", "file"] {
        assert!(bus(bad).is_err(), "{bad}");
    }
    let on_disk = read(&["--bus", "file:/a"], &[("TRIDENT_HISTORY_BYTES", "1MiB")]).unwrap();
    let week = Some(7 * 24 * 3_600_000);
    assert_eq!(on_disk.retention, Retention { count: Some(100_000), bytes: Some(1 << 20), age_ms: week });
    assert_eq!((on_disk.disk.fsync, on_disk.disk.total, on_disk.warnings.len()), (Fsync::Always, Some(4 << 30), 0));
    assert_eq!(on_disk.disk.purge_within, Duration::from_secs(24 * 3_600));
    let other = [("TRIDENT_FSYNC", "1s"), ("TRIDENT_DISK_TOTAL", "0"), ("TRIDENT_PURGE_WITHIN", "5m")];
    let on_disk = read(&["--bus", "file:/a"], &other).unwrap();
    assert_eq!((on_disk.disk.fsync, on_disk.disk.total), (Fsync::EverySecond, None));
    assert_eq!(on_disk.disk.purge_within, Duration::from_secs(300));
    let faults = read(&["--bus", "file:/a", "--fsync", "sometimes", "--disk-total", "5"], &[]).unwrap_err();
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(texts[0].contains("expected `always`, `1s` or `never`") && texts[1].contains("1MiB or more"), "{texts:?}");
    let in_memory = read(&[], &other).unwrap();
    assert_eq!(in_memory.retention.count, Some(1_000));
    assert!(in_memory.warnings[0].starts_with("TRIDENT_FSYNC has no effect"), "{:?}", in_memory.warnings);
}

#[test]
fn help_names_every_setting_its_variable_and_its_default() {
    let help = Settings::augment(clap::Command::new("x"), &SERVICE).render_long_help().to_string();
    // Wherever the lines were broken.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in table::ALL {
        assert!(help.contains(&format!("--{} <", setting.flag())), "{}", setting.flag());
        assert!(help.contains(&format!("[env: {}]", setting.variable())), "{}", setting.variable());
    }
    for part in ["[default: 0.0.0.0:8083]", "[default: 8MiB]", "[default: 15s]", "Limits (0 = no limit)"] {
        assert!(help.contains(part), "{part}\n{help}");
    }
    assert!(!help.contains("[default: ]"));
}

proptest! {
    /// Whatever stands in a setting, it is taken or told; nothing panics, and no message holds a control character.
    #[test]
    fn any_text_is_accepted_or_rejected(at in 0..table::ALL.len(), text in ".{0,60}") {
        let setting = &table::ALL[at];
        let variable = setting.variable();
        if let Err(faults) = read(&[], &[(variable.as_str(), text.as_str())]) {
            prop_assert!(faults.iter().all(|fault| !fault.contains(char::is_control)), "{:?}", faults);
        }
    }

    #[test]
    fn durations_add_up(h in 0_u64..100, m in 0_u64..100, s in 0_u64..100) {
        let text = format!("{h}h{m}m{s}s");
        prop_assert_eq!(values::duration(&text), Ok(Duration::from_secs(h * 3600 + m * 60 + s)));
    }
}

/// Case 8.3: what has to be percent-encoded in the URL is named, and the password is not repeated.
#[test]
fn a_password_that_is_not_percent_encoded_is_named_as_the_fault() {
    for password in ["a#b", "a/b", "a?b", "1#2/3?4", "#", "12/"] {
        for bus in [format!("redis://:{password}@h:6379"), format!("rediss://{password}:x@h/1")] {
            let faults = read(&["--bus", &bus], &[]).unwrap_err();
            let text = faults.iter().map(ToString::to_string).collect::<String>();
            assert!(text.contains("percent-encoded") && text.contains("%23"), "{bus}: {text}");
            assert!(!text.contains(&format!("{password}@")), "{text}");
        }
    }
    for bus in ["redis://:a%23b%2Fc%3Fd@h:6379", "redis://user:p%40ss@h/0?protocol=resp3"] {
        assert!(read(&["--bus", bus], &[]).is_ok(), "{bus}");
    }
}

/// Case 13.8: what the client commands take from the environment is no unknown setting of a server.
#[test]
fn variables_of_the_client_commands_are_no_unknown_settings() {
    let settings = read(&[], &[("TRIDENT_TOKEN", "x"), ("TRIDENT_URL", "http://localhost:8080")]).unwrap();
    assert_eq!(settings.unknown, Vec::<String>::new());
}

/// Case 13.8: nor is what `docker compose` and Caddy take from the environment.
#[test]
fn variables_of_the_deployment_files_are_no_unknown_settings() {
    let compose = include_str!("../../../docker-compose.yml");
    let caddy = include_str!("../../../ops/gateway/Caddyfile");
    let after = |text: &'static str, start| text.split(start).skip(1);
    let names = after(compose, "${").chain(after(caddy, "{$")).filter_map(|text| text.split([':', '}']).next());
    let names: Vec<_> = names.filter(|name| name.starts_with("TRIDENT_")).collect();
    assert!(names.contains(&"TRIDENT_TAG") && names.contains(&"TRIDENT_SITE"), "{names:?}");
    let settings = read(&[], &names.iter().map(|name| (*name, "1")).collect::<Vec<_>>()).unwrap();
    assert_eq!(settings.unknown, Vec::<String>::new());
}

#[test]
fn a_secret_that_is_set_but_empty_causes_a_warning() {
    let expected = ["TRIDENT_SECRET is set, but empty: there is no key of HS256 tokens"];
    assert_eq!(read(&[], &[("TRIDENT_SECRET", "")]).unwrap().warnings, expected);
    assert!(read(&["--secret", SECRET], &[("TRIDENT_SECRET", "")]).unwrap().warnings.is_empty());
}

/// The channels of users are never public.
#[test]
fn a_public_pattern_without_an_effect_causes_a_warning() {
    for (public, warned) in [("user.*", 1), ("news,user.ann", 1), ("users.*,*", 0), ("public.*", 0)] {
        let warnings = read(&[], &[("TRIDENT_PUBLIC", public)]).unwrap().warnings;
        assert_eq!(warnings.len(), warned, "{public}: {warnings:?}");
    }
}

#[test]
fn streams_that_anybody_can_write_to_cause_a_warning() {
    for (anonymous, streams, warned) in [("on", "*", 1), ("on", "off", 0), ("off", "*", 0)] {
        let env = [("TRIDENT_STREAMS_ANONYMOUS", anonymous), ("TRIDENT_STREAMS", streams)];
        let warnings = read(&[], &env).unwrap().warnings;
        assert_eq!(warnings.len(), warned, "{env:?}: {warnings:?}");
        assert!(warnings.iter().all(|text| text.starts_with("TRIDENT_STREAMS_ANONYMOUS is on: anybody can create")));
    }
}

/// A configuration file ranks between the environment and the defaults.
#[test]
fn a_configuration_file_sets_what_flags_and_environment_leave() {
    let file = std::env::temp_dir().join(format!("trident-config-{}.toml", std::process::id()));
    std::fs::write(&file, "max_body = 3000\nhistory_count = 7\ndemo = false\nkeepalive = \"9s\"\n").unwrap();
    let path = file.to_str().unwrap();
    let env = [("TRIDENT_CONFIG", path), ("TRIDENT_HISTORY_COUNT", "8"), ("TRIDENT_KEEPALIVE", "")];
    let settings = read(&["--max-body", "2KiB"], &env).unwrap();
    assert_eq!((settings.max_body, settings.retention.count), (Some(2048), Some(8)));
    assert_eq!((settings.demo, settings.keepalive), (false, Duration::from_secs(9)));
    assert_eq!(read(&["--config", path], &[]).unwrap().max_body, Some(3000));
    assert!(read(&[], &[]).unwrap().demo, "no file is found by itself");

    std::fs::write(&file, "max_body = \"big\"\nworker = 1\n").unwrap();
    let faults = read(&["--config", path, "--demo", "maybe"], &[]).unwrap_err();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults[0].ends_with("unknown setting `worker`; did you mean `workers`?"), "{faults:#?}");
    assert!(faults[1].starts_with("max_body in the configuration file: invalid size `big`"), "{faults:#?}");
    assert!(faults[2].starts_with("TRIDENT_DEMO (--demo): "), "{faults:#?}");
}

/// Case 8.11: the password of Redis need not stand in the environment.
#[test]
fn the_password_of_redis_is_read_from_a_file() {
    let file = std::env::temp_dir().join(format!("trident-redis-password-{}", std::process::id()));
    std::fs::write(&file, "p#w/d?@%\n").unwrap();
    let path = file.to_str().unwrap();
    let with = |bus: &str| read(&["--bus", bus, "--redis-password-file", path], &[]);
    for (bus, expected) in [
        ("redis://h:1/2", "redis://:p%23w%2Fd%3F%40%25@h:1/2"),
        ("redis://me@h", "redis://me:p%23w%2Fd%3F%40%25@h"),
        ("rediss://[::1]:1", "rediss://:p%23w%2Fd%3F%40%25@[::1]:1"),
    ] {
        let settings = with(bus).unwrap();
        assert!(matches!(&settings.bus, BusAddress::Redis(address) if address.url() == expected), "{bus}");
    }
    assert!(with("redis://me:other@h").is_err(), "two passwords");
    assert_eq!(with("memory").unwrap().warnings.len(), 1, "it has no effect there");
    std::fs::write(&file, "\n").unwrap();
    assert!(with("redis://h").is_err(), "an empty password");
    std::fs::remove_file(&file).unwrap();
    assert!(with("redis://h").is_err(), "no such file");
}
