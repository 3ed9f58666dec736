//! The state of a plant in a file that no kill can tear.
//!
//! ```text
//! offset 0     slot 0: magic, sequence, words that follow, hash, words
//! offset 4096  slot 1: the same
//! ```
//! A write goes to the slot that does not hold the newest state, so a half-written slot is only ever the older one's
//! place; its hash does not fit, and the other slot still counts. Readers need no lock; writers hold the file's.
//! Killed processes lose their lock with their file. It is not synced to the disk: a power cut is not what it survives.

use crate::plant::{GpuState, State};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SLOT: usize = 4096;
const SLOTS: usize = 2;
const MAGIC: u64 = u64::from_le_bytes(*b"HELNVML1");
/// Words before the state's own: magic, sequence, count, hash.
const HEAD: usize = 4;
/// Words of a state before its GPUs.
const NODE_WORDS: usize = 9;
/// Words of a GPU.
const GPU_WORDS: usize = 11;
// the most GPUs fit
const _: () = assert!((HEAD + NODE_WORDS + GPU_WORDS * crate::spec::MOST_GPUS) * 8 <= SLOT);

/// FNV-1a, 64 bits, from a start of the caller's choice: tells torn from whole, and spreads names. No cryptography.
pub(crate) fn fnv(bytes: &[u8], start: u64) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The same over words: a slot is hashed by each reader, and byte by byte costs eight times as much.
fn fnv_words(words: &[u64]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        let hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        hash ^ (hash >> 32)
    })
}

/// The newest whole state of a file and its sequence; none where no slot is whole.
///
/// # Errors
/// Those of reading.
pub(crate) fn read(file: &File) -> io::Result<Option<(u64, State)>> {
    let mut bytes = [0; SLOT * SLOTS];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let slots = bytes[..length].chunks(SLOT).filter_map(whole);
    let newest = slots.max_by_key(|(sequence, _)| *sequence);
    Ok(newest.and_then(|(sequence, words)| Some((sequence, decode(&words)?))))
}

/// Writes a state as the one after `sequence`. The caller holds the file's lock.
///
/// # Errors
/// Those of writing.
pub(crate) fn write(file: &File, sequence: u64, state: &State) -> io::Result<()> {
    let sequence = sequence + 1;
    let slot = if sequence.is_multiple_of(2) { 0 } else { SLOT as u64 };
    file.write_all_at(&encode(sequence, state), slot)
}

/// A new file with one state.
pub(crate) fn first(state: &State) -> Vec<u8> {
    let mut bytes = encode(0, state);
    bytes.resize(SLOT * SLOTS, 0);
    bytes
}

/// The sequence and the words of a slot, where its hash fits.
fn whole(slot: &[u8]) -> Option<(u64, Vec<u64>)> {
    let mut words = slot.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    let (magic, sequence, count, hash) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let count = usize::try_from(count).ok().filter(|count| magic == MAGIC && *count <= SLOT / 8 - HEAD)?;
    let words: Vec<u64> = words.take(count).collect();
    (words.len() == count && hash == fnv_words(&words) ^ sequence).then_some((sequence, words))
}

fn encode(sequence: u64, state: &State) -> Vec<u8> {
    let State { at, boot_id, driver_loads, changes, spec_id, faults_id, faults_since, fired, gpus } = state;
    let (high, low) = ((boot_id >> 64) as u64, *boot_id as u64);
    let mut words = vec![*at, high, low, *driver_loads, *changes, *spec_id, *faults_id, *faults_since, *fired];
    for gpu in gpus {
        let GpuState { told_mw, set_mw, locked_mhz, persistence, draw_mw, average_mw, energy_mj, frozen } = gpu;
        words.extend([*told_mw, *set_mw, u64::from(locked_mhz.0), u64::from(locked_mhz.1), u64::from(*persistence)]);
        words.extend([draw_mw, average_mw, energy_mj].map(|value| value.to_bits()));
        words.extend(frozen.map(|value| value.unwrap_or(f64::NAN).to_bits()));
    }
    let head = [MAGIC, sequence, words.len() as u64, fnv_words(&words) ^ sequence];
    head.iter().chain(&words).flat_map(|word| word.to_le_bytes()).collect()
}

fn decode(words: &[u64]) -> Option<State> {
    let (node, gpus) = words.split_at_checked(NODE_WORDS)?;
    let &[at, high, low, driver_loads, changes, spec_id, faults_id, faults_since, fired] = node else { return None };
    let gpu = |words: &[u64]| {
        let &[told_mw, set_mw, low, high, persistence, draw, average, energy, f0, f1, f2] = words else { return None };
        Some(GpuState {
            told_mw,
            set_mw,
            locked_mhz: (u32::try_from(low).ok()?, u32::try_from(high).ok()?),
            persistence: persistence == 1,
            draw_mw: f64::from_bits(draw),
            average_mw: f64::from_bits(average),
            energy_mj: f64::from_bits(energy),
            frozen: [f0, f1, f2].map(f64::from_bits).map(|value| (!value.is_nan()).then_some(value)),
        })
    };
    let boot_id = u128::from(high) << 64 | u128::from(low);
    let gpus = gpus.chunks(GPU_WORDS).map(gpu).collect::<Option<Vec<_>>>()?;
    Some(State { at, boot_id, driver_loads, changes, spec_id, faults_id, faults_since, fired, gpus })
}
