//! `pannier`: packs a Django site into a signed release and publishes it. All it does is in the library; here it is
//! given words and an exit status.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
