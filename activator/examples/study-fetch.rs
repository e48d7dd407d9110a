//! One transfer with other requests than the ones that were chosen, for `scripts/bench-study`.
//!
//! `study-fetch STORE TRUST VERSION FOLDER RANGE_KIB CONNECTIONS` fetches and unpacks a release of `polls` into FOLDER, an
//! empty one, by the same functions as a fetch on a node that has nothing, and prints how many seconds the transfer took.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a tool for benches only")]

use std::path::Path;
use std::time::Instant;

use pannier_activator::fetch::Origin;
use pannier_activator::ledger::Ledger;
use pannier_activator::plan::Plan;
use pannier_activator::plan::ranges::Cost;
use pannier_activator::steps::ahead::Ahead;
use pannier_activator::steps::fetch::transfer;
use pannier_activator::steps::reuse::{Method, reuse};
use pannier_shared::event::Silent;
use pannier_shared::id::Target;
use pannier_shared::published::Published;
use pannier_shared::signature::Trust;
use pannier_shared::store;
use pannier_shared::sys::clock;
use pannier_shared::sys::dir::Dir;
use tokio::runtime::Builder;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [location, trust, version, folder, range, connections] = arguments.as_slice() else {
        panic!("study-fetch STORE TRUST VERSION FOLDER RANGE_KIB CONNECTIONS");
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(store::open(&location.parse().unwrap(), &|_| None)).unwrap();
    let trust = Trust::load(Path::new(trust)).unwrap();
    let published = Published { store: store.as_ref(), trust: &trust, now: clock::now() };
    let (app, version) = ("polls".parse().unwrap(), version.parse().unwrap());
    let statement = runtime.block_on(published.statement(&app, &version, &Target::host())).unwrap();
    let origin = Origin { store: store.as_ref(), trust: &trust, runtime: &runtime };
    let range = range.parse::<u64>().unwrap() << 10;
    let cost = Cost { range, connections: connections.parse().unwrap(), ..Cost::default() };
    let plan = Plan::make(&origin, &statement, Vec::new(), Method::Link, &Silent).unwrap().at_cost(cost);
    let folder = Dir::open(Path::new(folder)).unwrap();
    let reused = reuse(&plan, &Ledger::default(), &folder, &Silent).unwrap();
    let began = Instant::now();
    transfer(&plan, &reused, Ahead::nothing(&plan), store.as_ref(), &runtime, &folder, &Silent).unwrap();
    println!("{:.4}", began.elapsed().as_secs_f64());
}
