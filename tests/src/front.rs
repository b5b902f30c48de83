//! What stands in front of a server: one address for several nodes, in turn, and a door that can be shut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Hands each connection to the next of its backends that takes it, as a load balancer does. A backend that was killed is
/// passed over; one that was only stopped still gets its share, since nobody can tell.
pub struct Front {
    address: SocketAddr,
    backends: Arc<Backends>,
    door: Mutex<Option<Door>>,
}

struct Backends {
    addresses: Vec<SocketAddr>,
    next: AtomicUsize,
}

/// The listener with the connections that came through it.
struct Door {
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<JoinSet<()>>>,
    /// Dropped with the door, which every connection hears.
    is_open: watch::Sender<()>,
}

impl Front {
    /// # Panics
    /// Where there is no free port.
    pub async fn start(ports: impl IntoIterator<Item = u16>) -> Self {
        let addresses =
            ports.into_iter().map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let backends = Arc::new(Backends { addresses, next: AtomicUsize::new(0) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let door = Mutex::new(Some(Door::open(listener, backends.clone())));
        Self { address, backends, door }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on connections are refused. Those there were are ended, and their clients have let go of them when this
    /// returns, so that nothing can be written to one of them and lost.
    ///
    /// # Panics
    /// Where it is shut already.
    pub async fn shut(&self) {
        let door = self.door.lock().expect("no panic").take().expect("an open door");
        door.accepting.abort();
        // Cancelled, as was asked for.
        let _ = door.accepting.await;
        drop(door.is_open);
        let mut connections = std::mem::take(&mut *door.connections.lock().expect("no panic"));
        while connections.join_next().await.is_some() {}
    }

    /// # Panics
    /// Where somebody else has taken the port.
    pub async fn reopen(&self) {
        let listener = crate::eventually("the port is free again", || async {
            TcpListener::bind(self.address).await.ok()
        })
        .await;
        let door = Door::open(listener, self.backends.clone());
        *self.door.lock().expect("no panic") = Some(door);
    }
}

impl Door {
    fn open(listener: TcpListener, backends: Arc<Backends>) -> Self {
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let theirs = connections.clone();
        let (is_open, hears) = watch::channel(());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut connections = theirs.lock().expect("no panic");
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(client, backends.clone(), hears.clone()));
            }
        });
        Self { accepting, connections, is_open }
    }
}

async fn carry(mut client: TcpStream, backends: Arc<Backends>, mut door: watch::Receiver<()>) {
    let count = backends.addresses.len();
    let first = backends.next.fetch_add(1, Ordering::Relaxed);
    for offset in 0..count {
        let address = backends.addresses[(first + offset) % count];
        let Ok(mut server) = TcpStream::connect(address).await else { continue };
        tokio::select! {
            // Whichever side ends it, both end.
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
            _ = door.changed() => break,
        }
    }
    if client.shutdown().await.is_ok() {
        let mut rest = [0; 1024];
        while client.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}
