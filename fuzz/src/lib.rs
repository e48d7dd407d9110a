//! What is fuzzed ([`targets`]), and how much memory it may take ([`memory`]).

pub mod memory;
pub mod targets;

/// Gives `data` to the target of this name, within its limit of memory.
pub fn run(name: &str, data: &[u8]) {
    if let Some((_, limit, target)) = targets::TARGETS.iter().find(|(known, ..)| *known == name) {
        memory::within(limit(data), || target(data));
    }
}
