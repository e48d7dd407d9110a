//! `torture [--check] [--short] [PART...]`: tortures nodes, see `pannier_tests::torture`, and prints what came of it. With
//! `--check` it ends with 1 when anything broke or could not be tried. `scripts/torture` runs it.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a tool for tests only")]

use std::process::ExitCode;
use std::time::Instant;

use pannier_tests::torture::{Extent, PARTS};

fn main() -> ExitCode {
    let (options, named): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let said = |option: &str| options.iter().any(|word| word == option);
    let extent = if said("--short") { Extent::Short } else { Extent::Whole };
    let unknown = named.iter().find(|name| PARTS.iter().all(|part| part.name != **name));
    if let Some(name) = unknown {
        println!(
            "there is no part `{name}`, only {}",
            PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ")
        );
        return ExitCode::from(2);
    }
    let mut all_hold = true;
    for part in PARTS.iter().filter(|part| named.is_empty() || named.iter().any(|name| name == part.name)) {
        println!("\n== {}: {}", part.name, part.does);
        let began = Instant::now();
        (part.run)(extent, &mut |figure| {
            println!("{figure}");
            all_hold &= figure.holds();
        });
        println!("   {:.0} s", began.elapsed().as_secs_f64());
    }
    if said("--check") && !all_hold { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
