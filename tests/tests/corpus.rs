//! The fuzz targets' seeds, and what they found, with some hundred small changes of each: the short form of
//! `scripts/torture fuzz`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::path::Path;

use pannier_tests::noise;
use targets::TARGETS;

/// Changes of each seed.
const CHANGES: usize = 150;

/// One of the usual accidents: a bit, a byte, a cut, a part twice, a part gone.
fn changed(seed: &[u8], dice: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let number = |at: usize| u32::from_le_bytes(dice[at..at + 4].try_into().unwrap()) as usize % (seed.len() + 1);
    let (from, to) = (number(4).min(number(8)), number(4).max(number(8)));
    match dice[0] % 5 {
        0 if from < seed.len() => bytes[from] ^= 1 << (dice[1] % 8),
        1 if from < seed.len() => bytes[from] = dice[1],
        2 => bytes.truncate(from),
        3 => drop(bytes.splice(to..to, seed[from..to].to_vec())),
        _ => drop(bytes.drain(from..to)),
    }
    bytes
}

#[test]
fn no_seed_and_no_change_of_one_does_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, _, target) in TARGETS {
        let seeds: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (at, seed) in seeds.into_iter().enumerate() {
            let seed = std::fs::read(seed.unwrap().path()).unwrap();
            target(&seed);
            noise(CHANGES * 12, at as u64).chunks(12).for_each(|dice| target(&changed(&seed, dice)));
        }
    }
}
