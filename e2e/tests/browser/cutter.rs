//! A TCP proxy that cuts connections in the middle of uploads.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
};

/// Bytes that were received from clients, and at which of them a connection is cut.
struct Plan {
    received: u64,
    /// Ascending.
    cuts: Vec<u64>,
    done: usize,
}

/// A proxy in front of a server. Its clients are browsers.
pub(crate) struct Cutter {
    plan: Arc<Mutex<Plan>>,
}

impl Cutter {
    /// Forwards connections to `server`. Cuts the connection that carries each of these bytes,
    /// counted over all that clients send.
    pub(crate) fn start(listener: TcpListener, server: SocketAddr, cuts: Vec<u64>) -> Self {
        let plan = Arc::new(Mutex::new(Plan {
            received: 0,
            cuts,
            done: 0,
        }));
        let shared = Arc::clone(&plan);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self { plan }
    }

    /// Returns how many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.plan.lock().unwrap().done
    }
}

async fn forward(client: TcpStream, server: SocketAddr, plan: Arc<Mutex<Plan>>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 || plan.lock().unwrap().cuts_at(length) {
                return io::Result::Ok(());
            }
            to_server.write_all(&buffer[..length]).await?;
        }
    };
    // Whichever ends first drops all four halves, which closes both connections.
    tokio::select! {
        end = up => end,
        end = copy(&mut from_server, &mut to_client) => end.map(|_| ()),
    }
}

impl Plan {
    /// Counts bytes, and returns whether they reach the next cut.
    fn cuts_at(&mut self, length: usize) -> bool {
        self.received += length as u64;
        let reached = self
            .cuts
            .get(self.done)
            .is_some_and(|cut| self.received >= *cut);
        self.done += usize::from(reached);
        reached
    }
}
