//! `pannier-activator`: what runs on a node. All it does is in the library; here it is given words and an exit status.

mod cli;

fn main() -> std::process::ExitCode {
    pannier_shared::sys::memory::keep_heap_small();
    cli::main()
}
