//! `madvise(2)`: giving memory back that the program could have again at any time.

use std::fs;
use std::io;

/// Lets go of the pages of the program's own file that were never written: code that ran once, at the start of a
/// process that then waits for days. What is needed again comes back from the page cache, unasked. Returns how many
/// bytes of address space were given up.
///
/// # Errors
/// If `/proc/self/smaps` (proc_pid_smaps(5), Linux 2.6.14) cannot be read.
pub fn let_go_of_code() -> io::Result<usize> {
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    let mut given_up = 0;
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = clean_file(line) {
            candidate = range;
        } else if line.starts_with("Anonymous:") {
            // No page of it is a private copy.
            let untouched = line.split_whitespace().nth(1) == Some("0");
            if let Some((start, end)) = candidate.take().filter(|_| untouched) {
                let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
                // SAFETY: the mapping is private, of a file, not writable, and has no page that differs from the file:
                // whatever is read or executed there next is the same as before.
                if unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) } == 0 {
                    given_up += end - start.addr();
                }
            }
        }
    }
    Ok(given_up)
}

/// The head of a mapping: `Some(None)` for one that is not a read-only private mapping of a file, None for any other line.
fn clean_file(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let (mode, inode, path) = (words.next()?, words.nth(2)?, words.next());
    let clean = matches!(mode, "r--p" | "r-xp") && inode != "0" && path.is_some();
    Some(clean.then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_read_only_files_are_given_up() {
        let text = "7f00-8f00 r-xp 00001000 fe:00 123                        /bin/a program";
        assert_eq!(clean_file(text), Some(Some((0x7f00, 0x8f00))));
        for other in [
            "7f00-8f00 rw-p 00001000 fe:00 123                        /bin/a",
            "7f00-8f00 r-xs 00001000 fe:00 123                        /bin/a",
            "7f00-8f00 r-xp 00000000 00:00 0                          [vdso]",
            "7f00-8f00 r--p 00000000 00:00 0",
        ] {
            assert_eq!(clean_file(other), Some(None), "{other}");
        }
        for none in ["Anonymous:             0 kB", "VmFlags: rd ex mr mw me sd", ""] {
            assert_eq!(clean_file(none), None, "{none}");
        }
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        let sum = |words: &[&str]| words.iter().map(|word| word.len()).sum::<usize>();
        assert!(let_go_of_code().unwrap() > 100 << 10);
        assert_eq!(sum(&["read", "again"]), 9);
    }
}
