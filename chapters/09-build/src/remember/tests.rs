use super::*;

fn stamp(ino: u64, ctime: i64) -> Stamp {
    Stamp { dev: 1, ino, size: 3, mtime: (5, 6), ctime: (ctime, 7) }
}

fn known(text: &str) -> Known {
    Known { content: Digest::of(text.as_bytes()), has_xattrs: text.len() > 1 }
}

#[test]
fn what_is_put_is_found_by_the_next_build() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashes");
    let mut first = Remembered::load(&path);
    assert!(first.is_empty());
    first.put(stamp(1, 100), known("a"));
    first.put(stamp(2, 100), known("bb"));
    first.save().unwrap();
    let mut second = Remembered::load(&path);
    assert_eq!(second.len(), 2);
    assert_eq!(second.get(&stamp(1, 100)), Some(known("a")));
    assert_eq!(second.get(&stamp(2, 100)), Some(known("bb")));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "no temporary file is left");
}

#[test]
fn any_difference_is_another_file() {
    let mut remembered = Remembered::load(Path::new("/nowhere/at/all"));
    let seen = stamp(1, 100);
    remembered.put(seen, known("a"));
    assert!(remembered.get(&seen).is_some());
    let others = [
        Stamp { dev: 2, ..seen },
        Stamp { ino: 2, ..seen },
        Stamp { size: 4, ..seen },
        Stamp { mtime: (5, 7), ..seen },
        Stamp { ctime: (100, 8), ..seen },
        Stamp { ctime: (101, 7), ..seen },
    ];
    for other in others {
        assert_eq!(remembered.get(&other), None, "{other:?}");
    }
    assert!(remembered.save().is_err(), "a folder that is not there");
}

#[test]
fn a_file_that_has_just_changed_is_not_remembered() {
    let mut remembered = Remembered::default();
    remembered.put(stamp(1, now()), known("a"));
    remembered.put(stamp(2, now() - SETTLED), known("a"));
    remembered.put(stamp(3, now() + 1000), known("a"));
    assert!(remembered.is_empty());
    remembered.put(stamp(4, now() - SETTLED - 2), known("a"));
    assert_eq!(remembered.len(), 1);
}

#[test]
fn a_damaged_file_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashes");
    let mut remembered = Remembered::load(&path);
    (0..3).for_each(|ino| remembered.put(stamp(ino, 100), known("a")));
    remembered.save().unwrap();
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len(), HEADER.len() + 3 * RECORD + 32);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(Remembered::load(&path).is_empty(), "byte {at} changed");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(Remembered::load(&path).is_empty(), "cut at {at}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(Remembered::load(&path).len(), 3);
}

#[test]
fn what_nobody_uses_is_dropped_after_a_month() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashes");
    let mut remembered = Remembered::load(&path);
    (0..3).for_each(|ino| remembered.put(stamp(ino, 100), known("a")));
    for record in remembered.records.values_mut() {
        record.used -= KEPT + u32::from(record.stamp.ino > 0);
    }
    remembered.save().unwrap();
    let mut later = Remembered::load(&path);
    assert_eq!(later.len(), 1);
    assert!(later.get(&stamp(0, 100)).is_some());
    assert_eq!(later.records[&(1, 0)].used, today(), "used again");
}
