//! What a disk holds after the power was cut.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use super::Op;

/// Which of the writes that were not synced survive a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All: only the process died.
    Kept,
    /// None: the cache was lost whole.
    Dropped,
    /// Each block of this size on its own, whatever its order: by chance, repeatable by the seed.
    /// The write that was going on is torn like the others.
    Torn {
        /// 512 or 4096.
        block: usize,
        /// The chance.
        seed: u64,
    },
}

/// The files of a directory with their content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image(BTreeMap<String, Vec<u8>>);

impl Image {
    /// The named files below `root` as they are; those that do not exist are left out.
    pub fn of(root: &Path, names: &[&str]) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for name in names {
            match fs::read(root.join(name)) {
                Ok(bytes) => drop(files.insert((*name).to_owned(), bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(files))
    }

    /// Writes the files below `root`.
    pub fn lay_out(&self, root: &Path) -> io::Result<()> {
        for (name, bytes) in &self.0 {
            let path = root.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, bytes)?;
        }
        Ok(())
    }

    /// What is on the disk when the power goes after `ops`, of which the last may still be going
    /// on. A file that was synced is there with its content at the sync; of what came later as
    /// much survives as `cut` says.
    pub fn after(&self, ops: &[Op], cut: Cut) -> Self {
        let mut disk: BTreeMap<&str, File> = BTreeMap::new();
        for (name, bytes) in &self.0 {
            disk.insert(name, File { durable: Some(bytes.clone()), pending: Vec::new() });
        }
        for op in ops {
            match op {
                Op::Create(name) | Op::SetLen(name, _) | Op::Delete(name) => {
                    disk.entry(name).or_default().pending.push(op);
                }
                Op::Write { file, .. } => disk.entry(file).or_default().pending.push(op),
                Op::Sync(name) => disk.entry(name).or_default().sync(),
                Op::Mark(_) => {}
            }
        }
        let mut chance = Chance(match cut {
            Cut::Torn { seed, .. } => seed,
            Cut::Kept | Cut::Dropped => 0,
        });
        let survived = disk.into_iter().filter_map(|(name, mut file)| {
            match cut {
                Cut::Dropped => {}
                Cut::Kept => file.sync(),
                Cut::Torn { block, .. } => file.tear(block, &mut chance),
            }
            Some((name.to_owned(), file.durable?))
        });
        Self(survived.collect())
    }
}

#[derive(Default)]
struct File<'a> {
    durable: Option<Vec<u8>>,
    pending: Vec<&'a Op>,
}

impl File<'_> {
    fn sync(&mut self) {
        for op in std::mem::take(&mut self.pending) {
            self.apply(op, &mut |_| true, usize::MAX);
        }
    }

    fn tear(&mut self, block: usize, chance: &mut Chance) {
        for op in std::mem::take(&mut self.pending) {
            match op {
                Op::Write { .. } => self.apply(op, &mut |_| chance.coin(), block),
                Op::Delete(_) if !chance.coin() => {
                    // The name still means the old file; what was written later went to another.
                    return;
                }
                Op::SetLen(..) | Op::Create(_) if !chance.coin() => {}
                _ => self.apply(op, &mut |_| true, block),
            }
        }
    }

    fn apply(&mut self, op: &Op, survives: &mut dyn FnMut(u64) -> bool, block: usize) {
        match op {
            Op::Create(_) => drop(self.durable.get_or_insert_default()),
            Op::Delete(_) => self.durable = None,
            Op::SetLen(_, length) => {
                self.durable.get_or_insert_default().resize(*length as usize, 0);
            }
            Op::Write { at, data, .. } => {
                let mut at = *at as usize;
                let mut rest = &data[..];
                while !rest.is_empty() {
                    // Blocks are those of the disk, not of the write.
                    let room = if block == usize::MAX { rest.len() } else { block - at % block };
                    let (piece, later) = rest.split_at(room.min(rest.len()));
                    if survives(at as u64) {
                        let bytes = self.durable.get_or_insert_default();
                        if bytes.len() < at + piece.len() {
                            bytes.resize(at + piece.len(), 0);
                        }
                        bytes[at..at + piece.len()].copy_from_slice(piece);
                    }
                    at += piece.len();
                    rest = later;
                }
            }
            Op::Sync(_) | Op::Mark(_) => {}
        }
    }
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) & 1 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: u64, data: &[u8]) -> Op {
        Op::Write { file: "f".into(), at, data: data.to_vec() }
    }

    fn after(ops: &[Op], cut: Cut) -> Option<Vec<u8>> {
        Image::default().after(ops, cut).0.remove("f")
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_is_at_the_mercy_of_the_cut() {
        let ops = [Op::Create("f".into()), write(0, b"one"), Op::Sync("f".into()), write(3, b"two")];
        assert_eq!(after(&ops, Cut::Dropped).as_deref(), Some(b"one".as_slice()));
        assert_eq!(after(&ops, Cut::Kept).as_deref(), Some(b"onetwo".as_slice()));
        assert_eq!(after(&ops[..2], Cut::Dropped), None);
    }

    #[test]
    fn a_removal_that_was_not_synced_may_be_undone_with_all_that_came_after_it() {
        let ops = [
            Op::Create("f".into()),
            write(0, b"old"),
            Op::Sync("f".into()),
            Op::Delete("f".into()),
            Op::Create("f".into()),
            write(0, b"new!"),
        ];
        for seed in 0..64 {
            let left = after(&ops, Cut::Torn { block: 512, seed });
            let allowed: [Option<&[u8]>; 4] = [Some(b"old"), None, Some(b""), Some(b"new!")];
            assert!(allowed.contains(&left.as_deref()), "{left:?}");
        }
    }

    #[test]
    fn blocks_are_torn_one_by_one() {
        let data: Vec<u8> = (0..4).flat_map(|n| [n + 1; 512]).collect();
        let ops = [Op::Create("f".into()), Op::Sync("f".into()), write(0, &data)];
        let left: Vec<Vec<u8>> =
            (0..64).filter_map(|seed| after(&ops, Cut::Torn { block: 512, seed })).collect();
        for bytes in &left {
            for (n, block) in bytes.chunks(512).enumerate() {
                assert!([0, n as u8 + 1].iter().any(|byte| block == [*byte; 512]), "block {n}");
            }
        }
        assert!(left.iter().any(|bytes| bytes.len() == 2048 && bytes[512] == 0), "a hole in the middle");
    }
}
