//! `pannier-s3d`: the S3 server of the tests and the demo, as a program. It prints its address and serves until killed.
#![allow(clippy::disallowed_methods, reason = "a server for tests, no part of Pannier: nothing goes through `sys`")]
#![allow(clippy::print_stdout, reason = "its address is its output")]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use pannier_s3_server::{Faults, Options, Server};

/// A small S3 server for tests and demos. Not durable, no TLS: for this machine only.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The access key.
    #[arg(long, default_value = "test")]
    access_key: String,
    /// The secret key.
    #[arg(long, default_value = "testtest")]
    secret_key: String,
    /// A session token that must come with the key.
    #[arg(long)]
    session_token: Option<String>,
    /// A bucket that is there from the start; may be given several times.
    #[arg(long = "bucket", value_name = "NAME")]
    buckets: Vec<String>,
    /// A bucket whose objects everybody may read; may be given several times.
    #[arg(long, value_name = "NAME")]
    public: Vec<String>,
    /// Keep the objects in this folder instead of in memory.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write the port number to this file once connections are accepted.
    #[arg(long)]
    port_file: Option<PathBuf>,
    #[command(flatten)]
    faults: FaultArgs,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Wait so many milliseconds before each request.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Send each body at most so fast, in millions of bytes per second.
    #[arg(long)]
    stream_mbps: Option<u32>,
    /// Answer every N-th request with 503 SlowDown.
    #[arg(long, value_name = "N")]
    slowdown_every: Option<u64>,
    /// Break every N-th body off in its middle.
    #[arg(long, value_name = "N")]
    cut_every: Option<u64>,
    /// Let every N-th body stop in its middle for ever.
    #[arg(long, value_name = "N")]
    stall_every: Option<u64>,
    /// Answer a range with 200 and the whole object.
    #[arg(long)]
    whole_body_for_range: bool,
    /// Answer a range with another range.
    #[arg(long)]
    wrong_content_range: bool,
    /// Answer the next N conditional writes with 409 ConditionalRequestConflict.
    #[arg(long, value_name = "N", default_value_t = 0)]
    conflicts: u64,
    /// Do the next N PUTs, but break the connection before the answer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    lost_answers: u64,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let server = Server::start(Options {
        listen: args.listen,
        access_key: args.access_key,
        secret_key: args.secret_key,
        session_token: args.session_token,
        buckets: args.buckets,
        public: args.public,
        dir: args.dir,
        faults: args.faults.into(),
    })?;
    if let Some(file) = &args.port_file {
        write_port(file, server.address().port())?;
    }
    println!("{}", server.url());
    io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

/// Whole or not at all: whoever waits for the file must not read half a number.
fn write_port(file: &Path, port: u16) -> io::Result<()> {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, format!("{port}\n"))?;
    std::fs::rename(&temporary, file)
}

impl From<FaultArgs> for Faults {
    fn from(args: FaultArgs) -> Self {
        Self {
            latency: Duration::from_millis(args.latency_ms),
            stream_mbps: args.stream_mbps,
            slowdown_every: args.slowdown_every,
            cut_every: args.cut_every,
            stall_every: args.stall_every,
            whole_body_for_range: args.whole_body_for_range,
            wrong_content_range: args.wrong_content_range,
            conflicts: args.conflicts,
            lost_answers: args.lost_answers,
            ..Self::default()
        }
    }
}
