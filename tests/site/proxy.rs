//! A road to the API server that can be made slow: bytes of answers arrive so many milliseconds late. It sees no more than TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::Instant;

pub struct Proxy {
    delay: Arc<AtomicU64>,
    pub port: u16,
    _runtime: Runtime,
}

impl Proxy {
    /// `to`: host and port.
    pub fn start(to: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay = Arc::new(AtomicU64::new(0));
        let (to, of) = (to.to_owned(), delay.clone());
        runtime.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (to, delay) = (to.clone(), of.clone());
                tokio::spawn(async move {
                    // an API server that is gone refuses: so does this
                    let Ok(server) = TcpStream::connect(&to).await else { return };
                    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    // either end that closes closes both
                    tokio::select! {
                        () = pass(from_client, to_server, Arc::default()) => {}
                        () = pass(from_server, to_client, delay) => {}
                    }
                });
            }
        });
        Self { delay, port, _runtime: runtime }
    }

    /// Answers come so much later from now on.
    pub fn slow(&self, millis: u64) {
        self.delay.store(millis, Ordering::Relaxed);
    }
}

/// Passes bytes on in their order, each piece after the delay of when it came.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Arc<AtomicU64>) {
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(256);
    let reads = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if sender.send((due, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writes = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reads, writes);
}
