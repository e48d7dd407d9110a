//! A long line: a TCP relay that passes everything on as it came, only later.
//!
//! Delay, not throttling: what is on its way does not hold up what follows, so that pipelined requests and long bodies
//! lose one round trip and no bandwidth. A connection becomes usable one round trip after it was opened, as after a
//! handshake. What a real line does too and this does not: slow start, loss, and TLS's own round trips.
//!
//! Each direction has a thread that reads and stamps, and one that waits and writes. Between them lie at most
//! [`IN_FLIGHT`] bytes: enough for 10 Gbit/s at a delay of 100 ms.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that one direction of one connection holds at most.
const IN_FLIGHT: usize = 64 << 20;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Bytes, and when they arrive.
type Late = (Instant, Vec<u8>);

/// Relays every connection that `listener` is offered to `upstream`, with `round_trip` between a byte and the answer to
/// it; half of it in each direction. Returns only if the listener fails.
pub fn relay(listener: &TcpListener, upstream: SocketAddr, round_trip: Duration) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept()?;
        // A connection that cannot be made is one that its client finds closed.
        thread::spawn(move || connect(client, upstream, round_trip).unwrap_or_default());
    }
}

fn connect(client: TcpStream, upstream: SocketAddr, round_trip: Duration) -> io::Result<()> {
    let opened = Instant::now() + round_trip;
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    direction(client.try_clone()?, server.try_clone()?, opened, round_trip / 2);
    direction(server, client, opened, round_trip / 2);
    Ok(())
}

/// Passes on what is read from `from`; nothing is taken to be sent before `opened`.
fn direction(from: TcpStream, to: TcpStream, opened: Instant, delay: Duration) {
    let (send, receive) = sync_channel(IN_FLIGHT / PIECE);
    thread::spawn(move || read(from, &send, opened, delay));
    thread::spawn(move || write(to, &receive));
}

fn read(mut from: TcpStream, send: &SyncSender<Late>, opened: Instant, delay: Duration) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).unwrap_or_default();
        let arrives = Instant::now().max(opened) + delay;
        // An empty piece says that there will be no more; nobody listens when the other side is gone.
        if send.send((arrives, buffer[..read].to_vec())).is_err() || read == 0 {
            return;
        }
    }
}

fn write(mut to: TcpStream, receive: &Receiver<Late>) {
    for (arrives, piece) in receive {
        thread::sleep(arrives.saturating_duration_since(Instant::now()));
        if piece.is_empty() || to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address of a relay before a server that sends back what it gets.
    fn relayed(round_trip: Duration) -> SocketAddr {
        let [server, listener] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let (upstream, address) = (server.local_addr().unwrap(), listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in server.incoming() {
                let (mut from, mut to) = (stream.as_ref().unwrap(), stream.as_ref().unwrap());
                io::copy(&mut from, &mut to).unwrap();
            }
        });
        thread::spawn(move || relay(&listener, upstream, round_trip));
        address
    }

    #[test]
    fn everything_arrives_as_it_was_sent_and_not_before_its_time() {
        let round_trip = Duration::from_millis(100);
        let mut stream = TcpStream::connect(relayed(round_trip)).unwrap();
        let begun = Instant::now();
        let sent = crate::noise(3 << 20, 1);
        let mut half = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            half.write_all(&sent).unwrap();
            half.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let mut got = vec![0];
        stream.read_exact(&mut got).unwrap();
        // The handshake's round trip, and the byte's own.
        assert!(begun.elapsed() >= round_trip * 2 - Duration::from_millis(10));
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got, writer.join().unwrap());
    }
}
