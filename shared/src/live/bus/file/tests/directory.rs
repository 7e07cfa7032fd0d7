//! Who may use a directory, and what of it.

use super::*;

/// A command that reads the log for a moment does not prevent a start; one that reads it for long is named.
#[test]
fn a_start_waits_for_readers() {
    let directory = Temporary::new();
    drop(directory.bus().unwrap());
    let reader = loop {
        // The writer of that bus ends on its own thread.
        let reader = Directory::open_read_only(&directory.0).unwrap();
        match reader.lock() {
            Ok(()) => break reader,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        std::thread::yield_now();
    };
    let refused = directory.bus().unwrap_err().to_string();
    assert!(refused.contains("in use by a command that reads the log"), "{refused}");
    let bus = std::thread::scope(|scope| {
        let started = scope.spawn(|| directory.bus());
        reader.unlock();
        started.join().unwrap()
    });
    assert_eq!(info(&directory.0).unwrap().holder, Some(format!("process {}", std::process::id())));
    drop(bus.unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let (parent, copy) = (Temporary::new(), Temporary::new());
    let directory = parent.0.join("log");
    let bus = FileBus::open(&directory, FileOptions::default(), Limits::default(), Moment::now).unwrap();
    bus.publish(publication("c", "private")).await.unwrap();
    back_up(&directory, &copy.0).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for directory in [&parent.0, &directory, &copy.0] {
        assert_eq!(mode(directory), 0o700, "{directory:?}");
    }
    for directory in [&directory, &copy.0] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{path:?}");
        }
    }
    bus.close().await;
}
