//! Bytes that are almost right: what was right once, changed here and there.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// Numbers at which readers go wrong: lengths, counts, field keys.
const HARD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x22];

/// One of the seeds, changed a few times.
pub(crate) fn mutated(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..6) {
        change(&mut bytes, seeds, rng);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut StdRng) {
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, rng.random()),
        2 => bytes.insert(at, *HARD.choose(rng).unwrap_or(&0)),
        3 if at < bytes.len() => bytes[at] = rng.random(),
        4 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        5 if at < bytes.len() => drop(bytes.remove(at)),
        // The beginning of one, and the end of another.
        _ => {
            let other = seeds.choose(rng).map(Vec::as_slice).unwrap_or_default();
            let from = rng.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
