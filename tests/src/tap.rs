//! A door in front of a server that writes down which URLs are asked for through it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes plain HTTP on as it is. Shut when it is dropped.
pub struct Tap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    passing: JoinHandle<()>,
}

impl Tap {
    /// # Panics
    /// Where there is no free port.
    pub async fn start(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let writes = heard.clone();
        let passing = tokio::spawn(async move {
            // Aborted with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, server.clone(), writes.clone()));
            }
        });
        Self { address, heard, passing }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request line, such as `POST /v25.0/1/messages?x=y HTTP/1.1`.
    ///
    /// # Panics
    /// Never: nothing panics while it holds the lock.
    pub fn request_lines(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("no panic");
        let text = String::from_utf8_lossy(&heard);
        let lines = text.split("\r\n").filter(|line| line.ends_with(" HTTP/1.1"));
        lines
            .filter_map(|line| {
                // On one connection a request begins right behind the body of the one before.
                let starts = ["GET /", "POST /", "PUT /", "DELETE /"].map(|verb| line.rfind(verb));
                let start = starts.into_iter().flatten().max()?;
                Some(line[start..].to_owned())
            })
            .collect()
    }

    /// Everything that was sent through it, headers and bodies too.
    ///
    /// # Panics
    /// Never: nothing panics while it holds the lock.
    pub fn bytes(&self) -> Vec<u8> {
        self.heard.lock().expect("no panic").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn pass(client: TcpStream, server: String, heard: Arc<Mutex<Vec<u8>>>) {
    let Ok(server) = TcpStream::connect(&server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = async {
        // Whole requests together, though connections take turns.
        let mut mine = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read) = from_client.read(&mut buffer).await
            && read > 0
        {
            mine.extend_from_slice(&buffer[..read]);
            if mine.ends_with(b"}") || mine.ends_with(b"\r\n\r\n") || mine.len() > 1 << 20 {
                heard.lock().expect("no panic").append(&mut mine);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        heard.lock().expect("no panic").append(&mut mine);
        let _ = to_server.shutdown().await;
    };
    let answers = async {
        // Whichever side ends it, the other hears of it.
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(asks, answers);
}
