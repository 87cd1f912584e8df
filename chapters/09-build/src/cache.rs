//! What was built once is not built again.
//!
//! A step's result depends on what it is built upon, on what it says, and on what it reads. If all of that is the same
//! as some time before, so is the layer: it is taken instead of made. All of it goes into one digest, the step's *key*:
//!
//! ```text
//! parent       chain ID of the layers below: what they are, not how they came about
//! instruction  what is to be done, with variables expanded
//! parts        by name: variables a RUN can see, its user and directory, the digest of copied files
//! ```
//!
//! A key says only *whether* something is different. To say *what*, the parts are kept with the record, and a second
//! index leads from parent and instruction to the record that was made last: that is the one to compare with.
//!
//! ```text
//! DIR/steps/<key>.json    what came of it
//! DIR/last/<digest>       the key that was made or used last: of parent and instruction, of the instruction alone
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use syscalls::{During, KernelError};

/// The chain ID of layers (`config.md`, "Layer ChainID"): of the chain below, if there is one, and the next diff ID.
pub fn chain_id(below: Option<&str>, diff_id: &str) -> String {
    match below {
        None => diff_id.to_owned(),
        Some(below) => hash([format!("{below} {diff_id}").as_bytes()]),
    }
}

/// Everything that a step's result depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingredients {
    /// Chain ID of the layers below; empty for none.
    pub parent: String,
    /// The instruction, expanded.
    pub instruction: String,
    /// What else counts: `ENV LANG`, `ARG VERSION`, `USER`, `files`.
    pub parts: BTreeMap<String, String>,
}

impl Ingredients {
    /// The digest of all of it, 64 hex digits.
    pub fn key(&self) -> String {
        let parts = self.parts.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let named = [b"step 1".as_slice(), self.parent.as_bytes(), self.instruction.as_bytes()];
        digits(&hash(framed(named.into_iter().chain(parts)).iter().map(Vec::as_slice)))
    }

    /// Where in which build: what stays the same when files or variables change.
    fn place(&self) -> String {
        let named = [b"place".as_slice(), self.parent.as_bytes(), self.instruction.as_bytes()];
        digits(&hash(framed(named.into_iter()).iter().map(Vec::as_slice)))
    }

    /// The same step, whatever it is built upon.
    fn step(&self) -> String {
        let named = [b"instruction".as_slice(), self.instruction.as_bytes()];
        digits(&hash(framed(named.into_iter()).iter().map(Vec::as_slice)))
    }
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it depended on.
    pub ingredients: Ingredients,
    /// None: it changed no file.
    pub layer: Option<Layer>,
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// When it was used last, to the minute.
    pub used: i64,
    /// The content of the files that were copied, see [`Cache::why`]: a name for each, and what it had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// A layer that a step has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of its tar, `sha256:...`.
    pub diff_id: String,
    /// Bytes of its tar.
    pub size: u64,
    /// Bytes in its files.
    pub bytes: u64,
    /// Number of its regular files.
    pub count: u64,
}

/// Why a step is not in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nothing like it was ever built.
    New,
    /// It was, upon something else.
    Below,
    /// It was, and these have changed since.
    Parts(Vec<String>),
    /// It was, with other files; the record to compare with.
    Files(Box<Record>),
}

/// A folder of records.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens the cache in `dir`, whose parent exists.
    ///
    /// # Errors
    /// If its folders cannot be made.
    pub fn open(dir: &Path) -> Result<Self, KernelError> {
        let cache = Self { dir: dir.to_owned() };
        for folder in [cache.dir.clone(), cache.dir.join("steps"), cache.dir.join("last")] {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.during("make folder", folder.display())?,
            }
        }
        Ok(cache)
    }

    /// What is known under a key. A record that cannot be read is none.
    pub fn get(&self, key: &str) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.file(key)).ok()?).ok()
    }

    /// Keeps a record under its key; an older one is replaced.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, record: &Record) -> Result<(), KernelError> {
        let key = record.ingredients.key();
        let json = serde_json::to_vec(record).map_err(io::Error::from);
        let path = self.file(&key);
        replace(&path, &json.during("write cache record", path.display())?)?;
        for index in [record.ingredients.place(), record.ingredients.step()] {
            replace(&self.dir.join("last").join(index), key.as_bytes())?;
        }
        Ok(())
    }

    /// Why there is no record of this: `parts` of the two are compared, then what they have copied (the part `files`).
    pub fn why(&self, ingredients: &Ingredients) -> Why {
        let last = |index: String| {
            let key = fs::read_to_string(self.dir.join("last").join(index)).ok()?;
            self.get(&key)
        };
        let Some(before) = last(ingredients.place()) else {
            return if last(ingredients.step()).is_some() { Why::Below } else { Why::New };
        };
        let (new, old) = (&ingredients.parts, &before.ingredients.parts);
        let mut names: Vec<&String> = new.keys().chain(old.keys()).collect();
        names.sort();
        names.dedup();
        let changed = names.into_iter().filter(|name| new.get(*name) != old.get(*name));
        let (files, parts): (Vec<_>, Vec<_>) = changed.partition(|name| *name == "files");
        match (parts.is_empty(), files.is_empty()) {
            (false, _) => Why::Parts(parts.into_iter().cloned().collect()),
            (true, false) => Why::Files(Box::new(before)),
            // It was there, and its layer is gone.
            (true, true) => Why::New,
        }
    }

    /// All records, the one that was not used for longest first.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Record>, KernelError> {
        let steps = self.dir.join("steps");
        let mut records = Vec::new();
        for entry in fs::read_dir(&steps).during("read folder", steps.display())? {
            let name = entry.during("read folder", steps.display())?.file_name();
            let key = name.to_str().and_then(|name| name.strip_suffix(".json"));
            records.extend(key.and_then(|key| self.get(key)));
        }
        records.sort_by(|a: &Record, b: &Record| {
            (a.used, &a.ingredients.parent).cmp(&(b.used, &b.ingredients.parent))
        });
        Ok(records)
    }

    /// Forgets one. What it leads to is the caller's business.
    ///
    /// # Errors
    /// If the file cannot be removed; that it is not there is none.
    pub fn remove(&self, record: &Record) -> Result<(), KernelError> {
        let path = self.file(&record.ingredients.key());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.during("remove file", path.display()),
        }
    }

    fn file(&self, key: &str) -> PathBuf {
        self.dir.join("steps").join(format!("{key}.json"))
    }
}

/// Each field with its length before it, so that no two lists of fields are the same bytes.
fn framed<'b>(fields: impl Iterator<Item = &'b [u8]>) -> Vec<Vec<u8>> {
    fields.map(|field| [&(field.len() as u64).to_le_bytes()[..], field].concat()).collect()
}

fn hash<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> String {
    let mut hash = Sha256::new();
    pieces.into_iter().for_each(|piece| hash.update(piece));
    hash.finalize().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn digits(digest: &str) -> String {
    digest.trim_start_matches("sha256:").to_owned()
}

/// Readers see the old content or the new. Not for the disk: what a power cut takes is built again.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), KernelError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    let replaced = written.and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        fs::remove_file(&temporary).ok();
    }
    replaced.during("write file", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingredients() -> Ingredients {
        Ingredients {
            parent: "sha256:aa".to_owned(),
            instruction: "COPY src /src".to_owned(),
            parts: [("ENV A", "1"), ("files", "f1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    fn record(ingredients: Ingredients) -> Record {
        let layer = Layer { diff_id: format!("sha256:{:064}", 1), size: 1024, bytes: 0, count: 0 };
        let files = BTreeMap::from([("src/main.c".to_owned(), "1234".to_owned())]);
        Record { ingredients, layer: Some(layer), made: 1, used: 2, files }
    }

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let (first, second) = (format!("sha256:{:064}", 1), format!("sha256:{:064}", 2));
        assert_eq!(chain_id(None, &first), first);
        // printf 'sha256:%064d sha256:%064d' 1 2 | sha256sum
        let expected = "sha256:e0213565073dd272477933ef550455db21856966e444074f1492aef0939305ac";
        assert_eq!(chain_id(Some(&first), &second), expected);
    }

    #[test]
    fn each_ingredient_changes_the_key() {
        let plain = ingredients().key();
        assert_eq!(plain, ingredients().key());
        let mut others = vec![ingredients(); 6];
        others[0].parent.push('b');
        others[1].instruction.push('b');
        others[2].parts.insert("ENV A".into(), "2".into());
        others[3].parts.insert("ENV B".into(), String::new());
        others[4].parts.remove("files");
        // The same letters, cut elsewhere.
        others[5].parts =
            [("ENV A1".to_owned(), String::new()), ("files".into(), "f1".into())].into();
        let mut keys: Vec<_> = others.iter().map(Ingredients::key).collect();
        keys.push(plain);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn a_miss_knows_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        assert_eq!(cache.why(&ingredients()), Why::New);
        let record = record(ingredients());
        cache.put(&record).unwrap();
        assert_eq!(cache.get(&ingredients().key()), Some(record.clone()));

        let mut files = ingredients();
        files.parts.insert("files".into(), "f2".into());
        assert_eq!(cache.get(&files.key()), None);
        assert_eq!(cache.why(&files), Why::Files(Box::new(record.clone())));
        files.parts.insert("ARG V".into(), "1".into());
        files.parts.remove("ENV A");
        assert_eq!(cache.why(&files), Why::Parts(vec!["ARG V".into(), "ENV A".into()]));
        let moved = Ingredients { parent: "sha256:bb".into(), ..ingredients() };
        assert_eq!(cache.why(&moved), Why::Below);
        let other = Ingredients { instruction: "RUN x".into(), ..ingredients() };
        assert_eq!(cache.why(&other), Why::New);

        assert_eq!(cache.list().unwrap(), std::slice::from_ref(&record));
        cache.remove(&record).unwrap();
        cache.remove(&record).unwrap();
        assert_eq!((cache.list().unwrap(), cache.why(&files)), (vec![], Why::New));
    }

    #[test]
    fn a_damaged_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.put(&record(ingredients())).unwrap();
        fs::write(cache.file(&ingredients().key()), b"{\"ingredients\":").unwrap();
        assert_eq!(cache.get(&ingredients().key()), None);
        assert!(cache.list().unwrap().is_empty());
    }
}
