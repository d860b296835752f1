//! Connections to a test site: in memory, as WebSockets need one that can be upgraded; and a
//! listener on the loopback, for tests that speak HTTP themselves.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

/// Bytes that wait in either direction of a connection in memory.
const PIPE_BYTES: usize = 64 * 1024;

/// Serves one test site. Dropping it closes the port; connections end with their site.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    pub(super) async fn open(handler: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It ends only when it is aborted; an error of accepting is retried inside.
            drop(axum::serve(listener, handler).await);
        });
        Ok(Self { address, task })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection to `handler`, and the task that serves it until it is upgraded.
pub(super) fn in_memory(handler: Router) -> (DuplexStream, AbortOnDropHandle<()>) {
    let (client, server) = duplex(PIPE_BYTES);
    let service = TowerToHyperService::new(handler);
    let serving =
        http1::Builder::new().serve_connection(TokioIo::new(server), service).with_upgrades();
    let task = tokio::spawn(async move {
        // That the client goes away is no failure of the site's.
        drop(serving.await);
    });
    (client, AbortOnDropHandle::new(task))
}
