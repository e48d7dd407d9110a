//! A long line for benches: `slow-proxy LISTEN UPSTREAM DELAY_MS` relays TCP connections from one address to another with
//! a round trip of that many milliseconds, half of it in each direction. It delays and does not throttle.
//!
//! It prints the address it listens on (`127.0.0.1:0` takes any free port) and runs until it is killed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for benches only")]

use std::net::{TcpListener, ToSocketAddrs};
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, delay] = arguments.as_slice() else {
        panic!("slow-proxy LISTEN UPSTREAM DELAY_MS");
    };
    let upstream = upstream.to_socket_addrs().unwrap().next().unwrap();
    let round_trip = Duration::from_secs_f64(delay.parse::<f64>().unwrap() / 1000.0);
    let listener = TcpListener::bind(listen).unwrap();
    println!("{}", listener.local_addr().unwrap());
    pannier_tests::delay::relay(&listener, upstream, round_trip).unwrap();
}
