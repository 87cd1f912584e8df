//! `image prune`: images that nobody needs go, and so does what killed commands have left. What it says it has freed
//! is what the disk got back. `container prune` and `volume prune` are in `containers.rs` and `volumes.rs`.

mod containers;
mod volumes;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Result;
use images::Image;
use jiff::{SignedDuration, Timestamp, civil, tz};

use crate::containers::Containers;
use crate::disk::disk_usage;
use crate::engine::Engine;
use crate::events;
use crate::failure::{self, Failure};
use crate::image;
pub use containers::containers;
pub use volumes::volumes;

/// Which images may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Also images with a name, if no container was made from them.
    pub all: bool,
    /// Only images made before.
    pub until: Option<Timestamp>,
    /// Only images with each of these labels; without a value, any.
    pub labels: Vec<(String, Option<String>)>,
    /// Only images with none of these labels.
    pub no_labels: Vec<(String, Option<String>)>,
}

/// What has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// `untagged: NAME` and `deleted: ID` for each image in turn; the id of each container.
    pub lines: Vec<String>,
    /// Bytes that the disk got back.
    pub reclaimed: u64,
}

impl Filters {
    /// Reads `--filter` as Docker does: `until=24h`, `until=2026-01-31T12:00:00Z`, `label=KEY[=VALUE]`,
    /// `label!=KEY[=VALUE]`, `dangling=BOOL`. Times without a zone are UTC.
    ///
    /// # Errors
    /// A failure with a hint for anything else.
    pub fn parse(all: bool, texts: &[String], now: Timestamp) -> Result<Self> {
        let mut filters = Self { all, ..Self::default() };
        for text in texts {
            let wrong = |hint: &str| Failure::new(format!("invalid filter `{text}`")).hint(hint);
            let known = || wrong("one of until=, label=, label!=, dangling=");
            let (key, value) = text.split_once('=').ok_or_else(known)?;
            let label = match value.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            };
            match key {
                "until" if filters.until.is_some() => {
                    return Err(wrong("give until= only once").into());
                }
                "until" => {
                    let hint = "a duration (24h, 1h30m), a date (2026-01-31), a time of RFC 3339, \
                                or seconds since 1970";
                    filters.until = Some(moment(value, now).ok_or_else(|| wrong(hint))?);
                }
                "label" => filters.labels.push(label),
                "label!" => filters.no_labels.push(label),
                "dangling" => {
                    let dangling = crate::create::options::parse_bool(value)
                        .map_err(|_| wrong("dangling= takes true or false"))?;
                    filters.all = !dangling;
                }
                _ => return Err(known().into()),
            }
        }
        Ok(filters)
    }

    fn fits(&self, image: &Image) -> bool {
        let labels = image.config.config().as_ref().and_then(|config| config.labels().clone());
        let labels = labels.unwrap_or_default();
        let old_enough = |until| image.created.is_some_and(|created| created < until);
        (self.all || image.references.is_empty())
            && self.until.is_none_or(old_enough)
            && self.labels_fit(|key| labels.get(key).map(String::as_str))
    }

    /// Whether something with these labels may go.
    pub fn labels_fit<'l>(&self, value_of: impl Fn(&str) -> Option<&'l str>) -> bool {
        let has = |(key, value): &(String, Option<String>)| {
            value_of(key).is_some_and(|own| value.as_deref().is_none_or(|value| value == own))
        };
        self.labels.iter().all(has) && !self.no_labels.iter().any(has)
    }
}

/// A moment as people write it, seen from `now`: how long ago (`24h`), a date, a time (without a zone of UTC), or seconds
/// since 1970 with or without a fraction.
pub(crate) fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    if let Some((seconds, fraction)) = text.split_once('.')
        && let Ok(seconds) = seconds.parse::<i64>()
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        // Nine digits are nanoseconds.
        let nanoseconds = format!("{fraction:0<9}")[..9].parse().ok()?;
        return Timestamp::new(seconds, nanoseconds).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<civil::DateTime>() {
        return time.to_zoned(tz::TimeZone::UTC).ok().map(|time| time.timestamp());
    }
    now.checked_sub(text.parse::<SignedDuration>().ok()?).ok()
}

/// Removes the images that `filters` lets go and no container, running or not, was made from; then blobs and layers
/// that belong to nothing.
///
/// # Errors
/// If a container's record cannot be read (it may need any image), or the stores cannot be read or written.
pub fn images(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    image::settle(engine);
    let store = engine.images()?;
    let mut measured = Measured::default();
    measured.add_all(&engine.root.join("images/blobs/sha256"), |_| true)?;
    for tmp in ["images/tmp", "images/incoming", "layers/tmp"] {
        measured.add_all(&engine.root.join(tmp), is_abandoned)?;
    }
    let users = users(engine)?;
    let mut pruned = Pruned::default();
    for image in store.list()?.iter().filter(|image| filters.fits(image)) {
        if users(&image.id).is_empty() {
            remove(engine, &store, image, &users, &mut pruned);
        }
    }
    store.gc()?;
    for id in image::unused_layers(engine)? {
        measured.add(engine.root.join("layers").join(id.hex()));
    }
    image::sweep_layers(engine)?;
    pruned.reclaimed = measured.freed();
    Ok(pruned)
}

/// Which containers were made from an image; asked anew each time, since somebody may be making one.
fn users(engine: &Engine) -> Result<impl Fn(&str) -> Vec<String>> {
    if let Some(id) = Containers::new(engine).scan()?.1.first() {
        return Err(Failure::new(format!(
            "the record of container {} cannot be read: nobody knows which image it needs",
            id.get(..12).unwrap_or(id)
        ))
        .hint("repair or remove its folder, then prune again")
        .into());
    }
    Ok(move |id: &str| match Containers::new(engine).scan() {
        Ok((records, damaged)) => {
            let mine = records.into_iter().filter(|record| record.image_id.as_deref() == Some(id));
            mine.map(|record| record.id).chain(damaged).collect()
        }
        // Then it may be in use.
        Err(error) => vec![error.to_string()],
    })
}

/// Name by name: the store refuses the last one if a container was made meanwhile.
fn remove(
    engine: &Engine,
    store: &images::Store,
    image: &Image,
    users: &dyn Fn(&str) -> Vec<String>,
    pruned: &mut Pruned,
) {
    let mut names: Vec<String> = image.references.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        names.push(image.id.clone());
    }
    for name in names {
        match store.remove(&name, false, users) {
            Ok(removed) => {
                events::image_removed(engine, &image.id, &removed);
                let untagged = removed.untagged.iter().map(|name| format!("untagged: {name}"));
                pruned.lines.extend(untagged);
                pruned.lines.extend(removed.deleted.iter().map(|id| format!("deleted: {id}")));
            }
            // Somebody was faster.
            Err(images::Error::InUse { .. } | images::Error::NotFound(_)) => return,
            Err(error) => return failure::warn(&error.into()),
        }
    }
}

/// What may go, and how much of the disk it takes.
#[derive(Default)]
struct Measured {
    found: Vec<(PathBuf, u64)>,
    /// Files with several names: a blob may also lie where a killed pull has put it.
    seen: BTreeSet<(u64, u64)>,
}

impl Measured {
    fn add(&mut self, path: PathBuf) {
        let size = disk_usage(&path, &mut self.seen);
        self.found.push((path, size));
    }

    fn add_all(&mut self, folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter(|path| wanted(path)).for_each(|path| self.add(path));
        Ok(())
    }

    /// Bytes of what is not there any more.
    fn freed(&self) -> u64 {
        let gone = self.found.iter().filter(|(path, _)| path.symlink_metadata().is_err());
        gone.map(|(_, size)| size).sum()
    }
}

/// Work in progress is locked by who does it.
fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|folder| folder.try_lock_shared().is_ok())
}
