//! A connection to a broker that can go silent without being closed, as behind a firewall that has forgotten it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    silenced: Arc<AtomicU32>,
}

impl Proxy {
    /// Takes a port; it is served when a cluster is behind it.
    pub fn bind() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).unwrap(), silenced: Arc::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn forward(&self, port: u16) {
        let (listener, silenced) = (self.listener.try_clone().unwrap(), self.silenced.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) else { continue };
                let born = silenced.load(Ordering::Relaxed);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, silenced) = (from.try_clone().unwrap(), to.try_clone().unwrap(), silenced.clone());
                    thread::spawn(move || copy(from, to, || silenced.load(Ordering::Relaxed) == born));
                }
            }
        });
    }

    /// Nothing comes through the connections of now any more; new ones work.
    pub fn silence(&self) {
        self.silenced.fetch_add(1, Ordering::Relaxed);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, lives: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while !lives() {
            thread::sleep(Duration::from_secs(1));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
