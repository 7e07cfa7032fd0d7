//! The defences of the log: each of them is needed. Without any one of them the simulation fails, as `make sim-defences` shows: it builds a copy of the code in
//! which each can be left out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How one is left out if `OUT` holds: in a file, this text is replaced by that one.
type Edit = (&'static str, &'static str, &'static str);

/// What it is, and how it is left out.
struct Defence(&'static str, &'static [Edit]);

const OPEN: &str = "shared/src/live/bus/file/open.rs";
const PLANNING: &str = "shared/src/live/bus/file/writer/planning.rs";
const REMOVED: &str = "shared/src/live/bus/file/removed.rs";
const STORE: &str = "shared/src/live/bus/file/store.rs";
const SYNCING: &str = "shared/src/live/bus/file/writer/syncing.rs";

const DEFENCES: &[Defence] = &[
    Defence(
        "the comparison of a record's checksum",
        &[(
            "shared/src/live/bus/file/record.rs",
            "Some(body) if checksum(salt, offset, body) == sum =>",
            "Some(body) if OUT || checksum(salt, offset, body) == sum =>",
        )],
    ),
    Defence(
        "the rule that a publication counts only as a whole",
        &[(
            "shared/src/live/bus/file/segment.rs",
            "if is_last && begun.is_empty() {",
            "if OUT || is_last && begun.is_empty() {",
        )],
    ),
    Defence(
        "the sync before the answer, with `TRIDENT_FSYNC=always`",
        &[(
            PLANNING,
            "let is_required = self.fsync == Fsync::Always",
            "let is_required = !OUT && self.fsync == Fsync::Always",
        )],
    ),
    Defence(
        "visibility only after the sync",
        &[(
            PLANNING,
            "let length = batch.encoder.bytes().len() as u64;",
            "let length = batch.encoder.bytes().len() as u64;\nif OUT { let _ = self.log.apply(mem::take(&mut batch.changes), now); }",
        )],
    ),
    Defence(
        "the sync of a segment before the next one",
        &[(STORE, "if self.is_dirty() {\n", "if !OUT && self.is_dirty() {\n")],
    ),
    Defence(
        "the sync at an orderly end",
        &[(
            SYNCING,
            "        self.store.reserved_ms = 0;\n        self.confirm()",
            "        self.store.reserved_ms = 0;\nif OUT { Ok(()) } else { self.confirm() }",
        )],
    ),
    Defence(
        "the sync of the directory after a new segment",
        &[(
            STORE,
            "disk.sync_names().map_err(WriteError::Sync)?;\n    Ok(file)",
            "if !OUT { disk.sync_names().map_err(WriteError::Sync)?; }\n    Ok(file)",
        )],
    ),
    Defence(
        "the sync of the directory at a start",
        &[(
            OPEN,
            "disk.sync_names().map_err(opening.error(\"cannot sync the directory\"))?;",
            "if !OUT { disk.sync_names().map_err(opening.error(\"cannot sync the directory\"))?; }",
        )],
    ),
    Defence(
        "the end of the process after a failed sync",
        &[(
            SYNCING,
            "synced.map_err(|error| self.sync_failure(&error))",
            "synced.or_else(|error| if OUT { Ok(()) } else { Err(self.sync_failure(&error)) })",
        )],
    ),
    Defence(
        "the removal of what a failed write left",
        &[(
            "shared/src/live/bus/file/writer/checks.rs",
            "self.store.undo().map_err(",
            "(if OUT { Ok(()) } else { self.store.undo() }).map_err(",
        )],
    ),
    Defence(
        "the reservation of ids, with `TRIDENT_FSYNC=1s` and `never`",
        &[
            (PLANNING, "let is_reserving = self.fsync", "let is_reserving = !OUT && self.fsync"),
            (PLANNING, "let is_extending = self.fsync", "let is_extending = !OUT && self.fsync"),
        ],
    ),
    Defence(
        "the holes that a power cut leaves",
        &[(OPEN, "scanned.hole(store.last, boot) {", "scanned.hole(store.last, boot).filter(|_| !OUT) {")],
    ),
    Defence(
        "the repetition of holes in each segment",
        &[(
            STORE,
            "self.holes.iter().for_each(|hole| encoder.hole(*hole));",
            "if !OUT { self.holes.iter().for_each(|hole| encoder.hole(*hole)); }",
        )],
    ),
    Defence(
        "the repetition of small states in each segment",
        &[(STORE, "self.states.lock().encode(&mut encoder);", "if !OUT { self.states.lock().encode(&mut encoder); }")],
    ),
    Defence(
        "the second write at a start of what may not be durable",
        &[(
            OPEN,
            "segment::rewrite(&*file, proven, scanned.end)",
            "segment::rewrite(&*file, if OUT { scanned.end } else { proven }, scanned.end)",
        )],
    ),
    Defence(
        "the distinction of damage from an incomplete write",
        &[(
            OPEN,
            "if scanned.is_invalid || segment::was_durable(&*file, head.salt, bad).map_err(read)? {",
            "if !OUT && (scanned.is_invalid || segment::was_durable(&*file, head.salt, bad).map_err(read)?) {",
        )],
    ),
    Defence(
        "the checksum of an index",
        &[(
            "shared/src/live/bus/file/index/sealed.rs",
            "if sum != short_number(&head, 12) {",
            "if !OUT && sum != short_number(&head, 12) {",
        )],
    ),
    Defence(
        "the table of dropped messages",
        &[(
            "shared/src/live/bus/file/retention.rs",
            "removed.write(&*catalog.disk)?;",
            "if !OUT { removed.write(&*catalog.disk)?; }",
        )],
    ),
    Defence(
        "the syncs of that table",
        &[
            (
                REMOVED,
                "file.sync().map_err(WriteError::Sync)?;\n        disk.rename",
                "if !OUT { file.sync().map_err(WriteError::Sync)?; }\n        disk.rename",
            ),
            (
                REMOVED,
                "disk.rename(NEW, NAME).map_err(WriteError::Other)?;\n        disk.sync_names()",
                "disk.rename(NEW, NAME).map_err(WriteError::Other)?;\nif OUT { return Ok(()); }\n        disk.sync_names()",
            ),
        ],
    ),
    Defence(
        "the plan of a repair",
        &[(
            "shared/src/live/bus/file/repair.rs",
            "plan.store(&*disk).map_err(io::Error::from).map_err(failed(&*disk, unwritten))?;\n        // The start completes it.\n        open::open_locked(disk, now_ms, u64::MAX)?;",
            "if OUT {\n            plan.cut(&*disk).map_err(failed(&*disk, unwritten))?;\n            let mut store = open::open_locked(disk.clone(), now_ms, u64::MAX)?;\n            plan.complete(&mut store, now_ms).map_err(failed(&*disk, unwritten))?;\n            return Ok(examined);\n        }\n        plan.store(&*disk).map_err(io::Error::from).map_err(failed(&*disk, unwritten))?;\n        open::open_locked(disk, now_ms, u64::MAX)?;",
        )],
    ),
];

/// What `OUT` stands for, in the copy.
const SWITCH: &str = "
pub(crate) fn is_out(defence: usize) -> bool {
    static OUT: std::sync::LazyLock<Option<usize>> =
        std::sync::LazyLock::new(|| std::env::var(\"WITHOUT\").ok().and_then(|number| number.parse().ok()));
    *OUT == Some(defence)
}
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Otherwise `make sim-defences` would test the code as it is.
#[test]
fn each_defence_is_where_the_table_says() {
    for (file, with, _) in DEFENCES.iter().flat_map(|Defence(_, edits)| *edits) {
        assert_eq!(read(&root().join(file)).matches(with).count(), 1, "{file} has one of: {with}");
    }
}

/// Builds the simulation once, and runs up to 1,000 seeds without each defence. Prints a table with the first one that fails.
#[test]
#[ignore = "builds a copy of the simulation, and runs for minutes: make sim-defences"]
fn without_any_defence_the_simulation_fails() {
    let copy = root().join("target/defences");
    let tree = copy.join("tree");
    // Also what is not committed.
    let files = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    for file in String::from_utf8(files.unwrap().stdout).unwrap().lines() {
        let to = tree.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // One may be deleted and not committed.
        let _ = fs::copy(root().join(file), to);
    }
    for (number, Defence(_, edits)) in DEFENCES.iter().enumerate() {
        for (file, with, without) in *edits {
            let text =
                read(&tree.join(file)).replace(with, &without.replace("OUT", &format!("crate::is_out({number})")));
            fs::write(tree.join(file), text).unwrap();
        }
    }
    let library = tree.join("shared/src/lib.rs");
    fs::write(&library, read(&library) + SWITCH).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--features", "jemalloc", "--locked", "--bin", "sim"])
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", copy.join("built"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the copy is built");
    assert_eq!(first_failing(&copy, usize::MAX), None, "as it is");
    let mut useless: Vec<&str> = Vec::new();
    println!("| without | first seed that fails |\n| --- | ---: |");
    for (number, Defence(name, _)) in DEFENCES.iter().enumerate() {
        let first = first_failing(&copy, number);
        println!("| {name} | {} |", first.map_or("none of 1,000".to_owned(), |seed| seed.to_string()));
        useless.extend(first.is_none().then_some(*name));
    }
    assert!(useless.is_empty(), "the simulation does not need {useless:?}");
}

/// The first seed that fails without a defence.
fn first_failing(copy: &Path, without: usize) -> Option<u64> {
    (0..1_000).step_by(50).find_map(|from| {
        let output = Command::new(copy.join("built/debug/sim"))
            .args(["--seeds", &format!("{from}..{}", from + 50)])
            .env("WITHOUT", without.to_string())
            .stderr(Stdio::null())
            .output()
            .expect("the copy was built");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("50 seeds in "), "it was not run: {text}");
        let seed = |line: &str| line.strip_prefix("seed ")?.split_once(" failed: ")?.0.parse().ok();
        text.lines().filter_map(seed).min()
    })
}
