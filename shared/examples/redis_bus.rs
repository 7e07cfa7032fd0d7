//! What a Redis bus carries, and how long a message takes through it.
//!
//! `cargo run --release -p shared --example redis_bus -- redis://127.0.0.1:6379 [seconds]`, against a Redis that holds
//! nothing of value. Two buses, as two processes would have them, publish to each other: first as fast as 512 publishers
//! can that wait for each answer, then 2,000 times a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use shared::{
    live::{
        bus::{Bus, MemoryBus, Publication, RedisBus},
        clock::Moment,
        log::Limits,
        reader::{Limit, Reader},
    },
    pure::{ChannelName, Draft, Payload, Retention, Since},
};

const LIMITS: Limits = Limits {
    channel: Retention { count: Some(1_000), bytes: None, age_ms: Some(3_600_000) },
    total: Some(64 * 1024 * 1024),
    forms: None,
    channels: None,
    server: None,
    streams: None,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("which Redis? redis://host:port [seconds]")?;
    let seconds = args.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let time = Duration::from_secs(seconds);
    let one: Arc<dyn Bus> = Arc::new(RedisBus::open(&url, None, LIMITS)?);
    let other: Arc<dyn Bus> = Arc::new(RedisBus::open(&url, None, LIMITS)?);
    while let Some(error) = one.ready().err().or(other.ready().err()) {
        println!("{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for bytes in [100, 1_000] {
        throughput(&one, &other, time, bytes).await?;
    }
    latency("redis", &one, &other, time).await?;
    let memory: Arc<dyn Bus> = Arc::new(MemoryBus::new(LIMITS, Moment::now));
    latency("memory", &memory, &memory, time).await?;
    Ok(())
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn throughput(one: &Arc<dyn Bus>, other: &Arc<dyn Bus>, time: Duration, bytes: usize) -> Outcome {
    let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let channel: ChannelName = "bench".parse()?;
    let reader = Reader::open(other.log(), std::slice::from_ref(&channel), Since::Now);
    tokio::spawn(count(reader, read.clone()));
    let draft = Draft::new(channel, Payload::from_text(&"x".repeat(bytes)));
    let publishers: Vec<_> = (0..512)
        .map(|n| {
            let bus = if n % 2 == 0 { one } else { other }.clone();
            let (stop, draft) = (stop.clone(), draft.clone());
            tokio::spawn(async move {
                let (mut done, mut took) = (0_u64, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    if bus.publish(Publication::new(vec![draft.clone()])).await.is_ok() {
                        done += 1;
                        took.push(started.elapsed());
                    }
                }
                (done, took)
            })
        })
        .collect();
    let started = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut took) = (0, Vec::new());
    for publisher in publishers {
        let (more, times) = publisher.await?;
        done += more;
        took.extend(times);
    }
    let elapsed = started.elapsed();
    while one.log().head() != other.log().head() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = u128::from(done) * 1_000 / elapsed.as_millis();
    let behind = started.elapsed().saturating_sub(elapsed);
    println!(
        "{bytes} bytes: {rate} publications/s acknowledged, p50 {:?}, p99 {:?}; the readers were {behind:?} behind, {} read",
        percentile(&mut took, 50),
        percentile(&mut took, 99),
        read.load(Ordering::Relaxed),
    );
    Ok(())
}

async fn count(mut reader: Reader, read: Arc<AtomicU64>) {
    while let Some(batch) = reader.next(Limit::default()).await {
        read.fetch_add(u64::try_from(batch.messages.len()).unwrap_or(0), Ordering::Relaxed);
    }
}

/// From before publishing on one to having it read on the other.
async fn latency(name: &str, one: &Arc<dyn Bus>, other: &Arc<dyn Bus>, time: Duration) -> Outcome {
    let epoch = Instant::now();
    let channel: ChannelName = "latency".parse()?;
    let mut reader = Reader::open(other.log(), std::slice::from_ref(&channel), Since::Now);
    let reads = tokio::spawn(async move {
        let mut took = Vec::new();
        while let Some(batch) = reader.next(Limit::default()).await {
            let now = epoch.elapsed();
            for message in &batch.messages {
                let Ok(sent) = message.draft.payload.placeholder_json().parse::<u64>() else { return took };
                took.push(now.saturating_sub(Duration::from_micros(sent)));
            }
        }
        took
    });
    let mut answers = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    while epoch.elapsed() < time {
        clock.tick().await;
        for _ in 0..2 {
            let (bus, channel) = (one.clone(), channel.clone());
            answers.push(tokio::spawn(async move {
                let started = Instant::now();
                let micros = u64::try_from(epoch.elapsed().as_micros()).unwrap_or(0);
                let draft = Draft::new(channel, Payload::from_value(&micros));
                bus.publish(Publication::new(vec![draft])).await.map(|_| started.elapsed())
            }));
        }
    }
    let mut acknowledged = Vec::new();
    for answer in answers {
        acknowledged.push(answer.await??);
    }
    one.publish(Publication::new(vec![Draft::new(channel, Payload::from_text("end"))])).await?;
    let mut took = reads.await?;
    println!(
        "{name}, 2,000/s: acknowledged p50 {:?}, p99 {:?}; read on the other p50 {:?}, p99 {:?}",
        percentile(&mut acknowledged, 50),
        percentile(&mut acknowledged, 99),
        percentile(&mut took, 50),
        percentile(&mut took, 99),
    );
    Ok(())
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}
