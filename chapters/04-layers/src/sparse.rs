//! Sparse files: only the parts that hold data are in the archive, with a map of where they belong.
//!
//! GNU tar has had four ways to write that map; all are still made somewhere. The old one keeps it
//! in the header itself (type `S`), 0.0 and 0.1 in the extended header, 1.0 at the beginning of the
//! data (GNU tar manual, "Storing Sparse Files").

use tar::{GnuExtSparseHeader, GnuHeader, GnuSparseHeader};

use crate::header::number;
use crate::pax::{Records, decimal};

/// A part of a file that holds data: the rest of the file is holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub length: u64,
}

/// More fragments than any file system makes of a file in a layer; 16 MiB of memory.
const MAX_FRAGMENTS: usize = 1 << 20;

/// A sparse file with its map.
#[derive(Debug)]
pub(crate) struct Sparse {
    pub(crate) fragments: Vec<Fragment>,
    /// The size of the file with its holes, in bytes.
    pub(crate) size: u64,
    /// Its name, if it is not the header's.
    pub(crate) name: Option<Vec<u8>>,
}

/// What the headers say about a sparse file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Map {
    /// All of it.
    Known(Vec<Fragment>),
    /// That the data begins with it (1.0).
    InData,
}

/// A sparse file as the extended header describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) map: Map,
    /// The size of the file with its holes, in bytes.
    pub(crate) size: u64,
    /// The name; the header's own has `GNUSparseFile.PID` in it for readers that know no sparse
    /// files.
    pub(crate) name: Option<Vec<u8>>,
}

/// Reads the records of a sparse file. `Ok(None)` if the file is not sparse.
pub(crate) fn described(records: &Records) -> Result<Option<Described>, &'static str> {
    let last = |key: &[u8]| records.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_slice());
    let size = last(b"GNU.sparse.realsize").or(last(b"GNU.sparse.size"));
    let map = match (last(b"GNU.sparse.major"), last(b"GNU.sparse.minor")) {
        (Some(b"1"), Some(b"0")) => Map::InData,
        (None | Some(b"0"), None | Some(b"0" | b"1")) => match last(b"GNU.sparse.map") {
            Some(b"") => Map::Known(Vec::new()),
            Some(text) => Map::Known(pairs(text.split(|byte| *byte == b','))?),
            // 0.0: offset and numbytes as records of their own, again and again.
            None if last(b"GNU.sparse.numblocks").is_some() => {
                let wanted =
                    |key: &[u8]| key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes";
                let values = records.iter().filter(|(key, _)| wanted(key)).map(|(_, v)| &**v);
                Map::Known(pairs(values)?)
            }
            None => return Ok(None),
        },
        _ => return Err("an unknown version of sparse file"),
    };
    let size = size.and_then(decimal).ok_or("a sparse file without a size")?;
    Ok(Some(Described { map, size, name: last(b"GNU.sparse.name").map(<[u8]>::to_vec) }))
}

fn pairs<'a>(numbers: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Fragment>, &'static str> {
    const BAD: &str = "a damaged map of a sparse file";
    let mut fragments = Vec::new();
    let mut numbers = numbers.map(|text| decimal(text).ok_or(BAD));
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or(BAD)?;
        push(&mut fragments, Fragment { offset: offset?, length: length? })?;
    }
    Ok(fragments)
}

/// Adds a fragment, which must lie behind the ones before it.
pub(crate) fn push(fragments: &mut Vec<Fragment>, next: Fragment) -> Result<(), &'static str> {
    let end = fragments.last().map_or(0, |last| last.offset + last.length);
    if next.offset < end || next.offset.checked_add(next.length).is_none() {
        return Err("the parts of a sparse file overlap");
    }
    if fragments.len() == MAX_FRAGMENTS {
        return Err("a sparse file with more than a million parts");
    }
    fragments.push(next);
    Ok(())
}

/// Checks a whole map against the size of the file and the bytes that the archive holds for it.
pub(crate) fn check(fragments: &[Fragment], size: u64, stored: u64) -> Result<(), &'static str> {
    if fragments.last().is_some_and(|last| last.offset + last.length > size) {
        return Err("a part of a sparse file lies behind its end");
    }
    if fragments.iter().map(|fragment| fragment.length).sum::<u64>() != stored {
        return Err("the map of a sparse file does not match its data");
    }
    Ok(())
}

/// The fragments in the header of an old GNU sparse file, and whether more follow.
pub(crate) fn old_first(header: &GnuHeader) -> Result<(Vec<Fragment>, bool), &'static str> {
    let mut fragments = Vec::new();
    old_push(&mut fragments, &header.sparse)?;
    Ok((fragments, header.is_extended()))
}

/// The fragments of a further block, and whether more follow.
pub(crate) fn old_more(
    fragments: &mut Vec<Fragment>,
    block: &GnuExtSparseHeader,
) -> Result<bool, &'static str> {
    old_push(fragments, block.sparse())?;
    Ok(block.is_extended())
}

fn old_push(fragments: &mut Vec<Fragment>, slots: &[GnuSparseHeader]) -> Result<(), &'static str> {
    for slot in slots.iter().filter(|slot| slot.offset[0] != 0 && slot.numbytes[0] != 0) {
        let field = |field: &[u8]| number(field).and_then(|number| u64::try_from(number).ok());
        let (Some(offset), Some(length)) = (field(&slot.offset), field(&slot.numbytes)) else {
            return Err("a damaged map of a sparse file");
        };
        push(fragments, Fragment { offset, length })?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &str)]) -> Records {
        pairs
            .iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn all_versions_are_known() {
        let two = vec![Fragment { offset: 0, length: 5 }, Fragment { offset: 100, length: 7 }];
        let v00 = records(&[
            ("GNU.sparse.size", "200"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "5"),
            ("GNU.sparse.offset", "100"),
            ("GNU.sparse.numbytes", "7"),
        ]);
        let v01 = records(&[
            ("GNU.sparse.size", "200"),
            ("GNU.sparse.map", "0,5,100,7"),
            ("GNU.sparse.name", "f"),
        ]);
        let v10 = records(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "200"),
        ]);
        assert_eq!(described(&v00).unwrap().unwrap().map, Map::Known(two.clone()));
        let found = described(&v01).unwrap().unwrap();
        assert_eq!((found.map, found.name), (Map::Known(two), Some(b"f".to_vec())));
        assert_eq!(described(&v10).unwrap().unwrap().map, Map::InData);
        assert_eq!(described(&records(&[("path", "x")])).unwrap(), None);
    }

    #[test]
    fn damaged_maps_are_refused() {
        for map in ["1", "1,2,3", "10,5,12,1", "18446744073709551615,1", "a,1"] {
            let records = records(&[("GNU.sparse.size", "9"), ("GNU.sparse.map", map)]);
            described(&records).unwrap_err();
        }
        let part = [Fragment { offset: 5, length: 5 }];
        check(&part, 10, 5).unwrap();
        check(&part, 9, 5).unwrap_err();
        check(&part, 10, 6).unwrap_err();
        described(&records(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")])).unwrap_err();
    }
}
