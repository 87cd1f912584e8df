//! The processes of a container, as `ps -ef` shows them, read from /proc: the machine needs no `ps`.
//!
//! | column | from |
//! |---|---|
//! | UID | owner of /proc/PID, by the machine's /etc/passwd |
//! | PID PPID TTY | fields 1, 4, 7 of /proc/PID/stat; numbers are the machine's, not the container's |
//! | C | CPU time of the process / time since its start, in percent, 99 at most |
//! | STIME | field 22, in ticks since the boot, which /proc/stat dates (`btime`) |
//! | TIME | fields 14 and 15: user and system |
//! | CMD | /proc/PID/cmdline; `[name]` for what has none |
//!
//! Sources: proc_pid_stat(5), proc_pid_cmdline(5), ps(1) of procps.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::unistd::Pid;

/// The columns of `ps -ef`.
pub const COLUMNS: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// Ticks of USER_HZ in a second, in every ABI of Linux that we build for.
const HZ: u64 = 100;

/// One row of [`COLUMNS`] for each process, in the order of their numbers. A process that has ended meanwhile has none.
pub fn processes(pids: &[Pid]) -> Vec<Vec<String>> {
    let users = users(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    let booted = booted(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let moment = Moment { booted, now: Timestamp::now(), zone: TimeZone::system() };
    pids.iter().filter_map(|pid| process(*pid, &users, &moment)).collect()
}

/// When it is, and when the machine has started, in seconds since 1970.
struct Moment {
    booted: i64,
    now: Timestamp,
    zone: TimeZone,
}

fn process(pid: Pid, users: &BTreeMap<u32, String>, moment: &Moment) -> Option<Vec<String>> {
    let folder = format!("/proc/{pid}");
    let owner = fs::metadata(&folder).ok()?.uid();
    let stat = Stat::parse(&fs::read_to_string(format!("{folder}/stat")).ok()?)?;
    let words = fs::read(format!("{folder}/cmdline")).ok()?;
    let user = users.get(&owner).cloned().unwrap_or_else(|| owner.to_string());
    Some(vec![
        user,
        pid.to_string(),
        stat.parent.to_string(),
        share(&stat, moment).to_string(),
        start(&stat, moment),
        terminal(stat.terminal),
        cpu_time(stat.ticks / HZ),
        command(&words, &stat),
    ])
}

/// What is used of /proc/PID/stat.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    /// `R`, `S`, `Z`, ...
    state: char,
    parent: i32,
    /// Device number, 0 if it has none.
    terminal: u64,
    /// CPU time.
    ticks: u64,
    /// Ticks between the boot and its start.
    start: u64,
}

impl Stat {
    /// `7 (name) S 1 ...`: a name may have blanks and parentheses in it, so what follows begins behind the last one.
    fn parse(text: &str) -> Option<Self> {
        let (before, rest) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Here field 3 of the manual page is number 0.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            terminal: number(7)?,
            ticks: number(14)? + number(15)?,
            start: number(22)?,
        })
    }
}

/// Percent of the time since its start that it was on a CPU.
fn share(stat: &Stat, moment: &Moment) -> u64 {
    let began = moment.booted + (stat.start / HZ) as i64;
    let seconds = u64::try_from(moment.now.as_second() - began).unwrap_or_default();
    (stat.ticks * 100 / HZ).checked_div(seconds).unwrap_or_default().min(99)
}

/// When it was started: `10:04` today, `Jan05` this year, `2025`.
fn start(stat: &Stat, moment: &Moment) -> String {
    let began = Timestamp::from_second(moment.booted + (stat.start / HZ) as i64);
    let Ok(began) = began.map(|began| began.to_zoned(moment.zone.clone())) else {
        return "?".to_owned();
    };
    let now = moment.now.to_zoned(moment.zone.clone());
    let format = match (began.year() == now.year(), began.date() == now.date()) {
        (_, true) => "%H:%M",
        (true, _) => "%b%d",
        (false, _) => "%Y",
    };
    began.strftime(format).to_string()
}

/// Name of a terminal by its device number (the kernel's `admin-guide/devices.txt`): bits 8 to 19 are the major number,
/// the others the minor one.
fn terminal(device: u64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match (major, minor) {
        (136..=143, minor) => format!("pts/{}", (major - 136) * 256 + minor),
        (4, 0..=63) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        (204, 64..=79) => format!("ttyAMA{}", minor - 64),
        (229, minor) => format!("hvc{minor}"),
        _ => "?".to_owned(),
    }
}

/// `[DAYS-]HH:MM:SS`.
fn cpu_time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let time = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if days == 0 { time } else { format!("{days}-{time}") }
}

/// Its arguments; what has given them up, or never had any, is known by its name.
fn command(words: &[u8], stat: &Stat) -> String {
    let words = String::from_utf8_lossy(words);
    let text = words.trim_end_matches('\0').replace('\0', " ");
    match (text.is_empty(), stat.state) {
        (_, 'Z') => format!("[{}] <defunct>", stat.name),
        (true, _) => format!("[{}]", stat.name),
        (false, _) => text,
    }
}

/// Names by number.
fn users(passwd: &str) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(number))) = (fields.next(), fields.nth(1).map(str::parse)) {
            // The first of several names counts, as in getpwuid(3).
            users.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    users
}

fn booted(stat: &str) -> i64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(start: u64, ticks: u64) -> Stat {
        Stat { name: "cat".to_owned(), state: 'S', parent: 1, terminal: 0, ticks, start }
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) S (b) S 7 42 42 34816 0 0 1 2 3 4 150 50 9 9 20 0 1 0 12345 99 99\n";
        let expected = Stat {
            name: "a) S (b".to_owned(),
            state: 'S',
            parent: 7,
            terminal: 34816,
            ticks: 200,
            start: 12345,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        for wrong in ["", "42", "42 (x", "42 (x) S 1 2"] {
            assert_eq!(Stat::parse(wrong), None, "{wrong}");
        }
        Stat::parse(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
    }

    #[test]
    fn terminals_have_names() {
        for (device, name) in [
            (0, "?"),
            (34816, "pts/0"),
            (34816 + 5, "pts/5"),
            (34816 + 256, "pts/256"),
            ((136 << 8) | (1 << 20) | 4, "pts/260"),
            (1025, "tty1"),
            (1088, "ttyS0"),
            (1281, "console"),
        ] {
            assert_eq!(terminal(device), name, "{device}");
        }
    }

    #[test]
    fn times_are_as_short_as_they_can_be() {
        for (seconds, text) in [
            (0, "00:00:00"),
            (59, "00:00:59"),
            (3661, "01:01:01"),
            (86_399, "23:59:59"),
            (86_400, "1-00:00:00"),
            (1_000_000, "11-13:46:40"),
        ] {
            assert_eq!(cpu_time(seconds), text);
        }
        let now: Timestamp = "2026-03-04T12:30:00Z".parse().unwrap();
        let at = |began: &str, ticks: u64| {
            let booted = began.parse::<Timestamp>().unwrap().as_second();
            let moment = Moment { booted, now, zone: TimeZone::UTC };
            (start(&stat(100, ticks), &moment), share(&stat(100, ticks), &moment))
        };
        for (began, ticks, expected, percent) in [
            ("2026-03-04T12:29:49Z", 500, "12:29", 50),
            ("2026-03-04T00:00:00Z", 0, "00:00", 0),
            ("2026-03-03T23:59:00Z", 0, "Mar03", 0),
            ("2025-12-31T12:00:00Z", 0, "2025", 0),
            // More than one CPU, and a start in this very second.
            ("2026-03-04T12:29:49Z", 4000, "12:29", 99),
            ("2026-03-04T12:29:59Z", 10, "12:30", 0),
        ] {
            assert_eq!(at(began, ticks), (expected.to_owned(), percent), "{began}");
        }
    }

    #[test]
    fn what_has_no_arguments_has_a_name() {
        let zombie = Stat { state: 'Z', ..stat(0, 0) };
        assert_eq!(command(b"sh\0-c\0sleep 5\0", &stat(0, 0)), "sh -c sleep 5");
        assert_eq!(command(b"", &stat(0, 0)), "[cat]");
        assert_eq!(command(b"", &zombie), "[cat] <defunct>");
    }

    #[test]
    fn users_have_their_first_name() {
        let users = users("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\nweb:x:33:33:::\n");
        assert_eq!(
            users.into_iter().collect::<Vec<_>>(),
            [(0, "root".to_owned()), (33, "web".to_owned())]
        );
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), 1_700_000_000);
    }
}
