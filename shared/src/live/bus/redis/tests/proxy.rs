//! A proxy to Redis that can be made faulty.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// The state of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As it should be.
    Open,
    /// Everything takes so much longer.
    Slow(Duration),
    /// Nothing passes, and nobody is notified.
    Stalled,
    /// Connections break, and none comes about.
    Closed,
    /// Connections break after this many bytes of answers.
    Cut(usize),
}

/// Runs between the bus and Redis.
pub(super) struct Proxy {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    task: AbortHandle,
}

impl Proxy {
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let sender = way.clone();
        let task = tokio::spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let is_closed = *sender.borrow() == Way::Closed;
                if let (false, Ok(server)) = (is_closed, TcpStream::connect(("127.0.0.1", to)).await) {
                    let (client_reads, client_writes) = client.into_split();
                    let (server_reads, server_writes) = server.into_split();
                    let (there, back) = (sender.subscribe(), sender.subscribe());
                    pairs.spawn(async move {
                        tokio::select! {
                            () = pump(client_reads, server_writes, there, false) => {}
                            () = pump(server_reads, client_writes, back, true) => {}
                        }
                    });
                }
                while pairs.try_join_next().is_some() {}
            }
        });
        Self { port, way, task: task.abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>, is_back: bool) {
    let mut bytes = vec![0; 16 * 1024];
    let mut through = 0;
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            Ok(_) = way.wait_for(|way| *way == Way::Closed) => return,
        };
        let Ok(mut count @ 1..) = read else { return };
        let Ok(now) = way.wait_for(|way| *way != Way::Stalled).await.map(|way| *way) else { return };
        through += count;
        let mut is_cut = false;
        match now {
            Way::Closed => return,
            Way::Slow(by) => sleep(by).await,
            Way::Cut(after) if is_back && through >= after => {
                // In mid-answer: what is before the cut still arrives.
                count -= (through - after).min(count);
                is_cut = true;
            }
            _ => {}
        }
        if to.write_all(&bytes[..count]).await.is_err() || is_cut {
            return;
        }
    }
}
