use std::sync::atomic::AtomicUsize;

use actix_web::rt::{System, task::yield_now};

use super::*;

fn counting(count: &Arc<AtomicUsize>) -> Job {
    let count = count.clone();
    Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })
}

/// Lets the driver have its turn.
async fn turns() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[test]
fn jobs_survive_the_end_of_their_thread() {
    let workers = Workers::new();
    let count: Arc<AtomicUsize> = Arc::default();
    let home = System::new().block_on(async {
        let home = workers.here();
        workers.queue(&home, counting(&count));
        turns().await;
        home
    });
    assert_eq!(count.load(Ordering::Relaxed), 1);

    // The runtime is gone, and there is nobody to take the job over yet.
    workers.queue(&home, counting(&count));
    assert_eq!(count.load(Ordering::Relaxed), 1);
    System::new().block_on(async {
        let next = workers.here();
        assert!(!Arc::ptr_eq(&next, &home));
        turns().await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        // From now on what is meant for the old one goes to the new one.
        workers.queue(&home, counting(&count));
        turns().await;
    });
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[test]
fn a_job_runs_at_once_on_a_server_thread_and_is_handed_over_elsewhere() {
    let workers = Workers::new();
    let count: Arc<AtomicUsize> = Arc::default();
    System::new().block_on(async {
        let home = workers.here();
        workers.execute(&home, counting(&count));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let (elsewhere, job) = (workers.clone(), counting(&count));
        let here = home.clone();
        std::thread::spawn(move || elsewhere.execute(&here, job)).join().unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        turns().await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(Arc::ptr_eq(&workers.here(), &home));
    });
}

#[test]
fn the_first_step_of_a_handler_is_taken_at_once() {
    let count: Arc<AtomicUsize> = Arc::default();
    System::new().block_on(async {
        let steps = count.clone();
        run(Box::pin(async move {
            steps.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
            steps.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        turns().await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        run(Box::pin(async { panic!("on purpose") }));
    });
}
