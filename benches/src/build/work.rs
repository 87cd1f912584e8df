//! What is built.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::image::NAME;
use crate::pull::files::generate_sources;

/// Steps of [`Work::Nothing`] and [`Work::Chain`], `FROM` not counted.
pub const STEPS: usize = 20;

/// Folders that are copied, and files in each of them.
const FOLDERS: usize = 100;
const IN_EACH: usize = 100;

/// Files that are copied.
pub const FILES: usize = FOLDERS * IN_EACH;

/// The file that changes in [`Work::Changed`], in the folder that is built from.
pub(crate) const CHANGING: &str = "tree/d50/f50";

/// How often the steps of [`Work::Nothing`] repeat.
const TURNS: usize = 5;

/// Something to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Twenty steps, all of them known.
    Nothing,
    /// `COPY` of many files, none of them ever seen.
    First,
    /// The same, all of them seen; in one of them a byte has changed, so that the step is done.
    Changed,
    /// The same, nothing changed.
    Same,
    /// Twenty times `RUN true`.
    Chain,
    /// `RUN true` once.
    One,
}

impl Work {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Nothing, Self::First, Self::Changed, Self::Same, Self::Chain, Self::One];

    /// A short name without spaces, for filters and folders.
    pub fn id(self) -> &'static str {
        match self {
            Self::Nothing => "no-op",
            Self::First => "copy-first",
            Self::Changed => "copy-changed",
            Self::Same => "copy-same",
            Self::Chain => "run-20",
            Self::One => "run-1",
        }
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Nothing => "20 steps, nothing changed",
            Self::First => "COPY of 10,000 files, the first time",
            Self::Changed => "COPY of 10,000 files, a byte of one has changed",
            Self::Same => "COPY of 10,000 files, nothing changed",
            Self::Chain => "20 times RUN true, without the cache",
            Self::One => "RUN true once, without the cache",
        }
    }

    /// How many `RUN` are done, not found in the cache.
    pub fn runs(self) -> usize {
        match self {
            Self::Chain => STEPS,
            Self::One => 1,
            Self::Nothing | Self::First | Self::Changed | Self::Same => 0,
        }
    }

    /// Whether everything is in the cache.
    pub(crate) fn is_cached(self) -> bool {
        matches!(self, Self::Nothing | Self::Same)
    }

    /// Whether each measurement has a store of its own, with nothing but the base image in it.
    pub(crate) fn has_new_store(self) -> bool {
        matches!(self, Self::First | Self::Chain | Self::One)
    }

    /// Makes the folder that is built from.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn make(self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("Dockerfile"), self.dockerfile())?;
        match self {
            Self::Nothing => {
                for at in 0..TURNS {
                    fs::write(folder.join(format!("file{at}")), format!("file {at}\n"))?;
                }
            }
            Self::First | Self::Changed | Self::Same => {
                generate_sources(&folder.join("tree"), FOLDERS, IN_EACH)?;
            }
            Self::Chain | Self::One => {}
        }
        Ok(())
    }

    /// What its Dockerfile says after `FROM`, a line each.
    pub(crate) fn steps(self) -> Vec<String> {
        match self {
            Self::Nothing => (0..TURNS).flat_map(turn).collect(),
            Self::First | Self::Changed | Self::Same => vec!["COPY tree /srv/tree/".to_owned()],
            Self::Chain | Self::One => vec!["RUN true".to_owned(); self.runs()],
        }
    }

    fn dockerfile(self) -> String {
        format!("FROM {}\n{}\n", base(), self.steps().join("\n"))
    }
}

/// The base image's name in full, since buildah asks which registry is meant by a shorter one.
pub(crate) fn base() -> String {
    format!("docker.io/{NAME}")
}

/// Four steps: two that have a layer, one that only changes settings, and one of either kind.
fn turn(at: usize) -> [String; 4] {
    [
        format!("COPY file{at} /srv/"),
        "RUN true".to_owned(),
        format!("ENV VARIABLE{at}=value{at}"),
        match at % 2 {
            0 => format!("LABEL label{at}=value{at}"),
            _ => format!("WORKDIR /srv/folder{at}"),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_have_as_many_steps_as_is_said() {
        for (work, steps) in
            [(Work::Nothing, STEPS), (Work::Chain, STEPS), (Work::One, 1), (Work::Same, 1)]
        {
            assert_eq!(work.dockerfile().lines().count(), steps + 1, "{work:?}");
        }
        for instruction in ["RUN ", "COPY ", "ENV ", "LABEL ", "WORKDIR "] {
            let steps = Work::Nothing.steps();
            assert!(steps.iter().any(|step| step.starts_with(instruction)), "{instruction}");
        }
    }

    #[test]
    fn the_files_are_as_many_and_as_large_as_is_said() {
        let folder = tempfile::tempdir().unwrap();
        Work::Changed.make(folder.path()).unwrap();
        assert!(folder.path().join(CHANGING).is_file());
        let (mut files, mut bytes) = (0, 0);
        for directory in fs::read_dir(folder.path().join("tree")).unwrap() {
            for file in fs::read_dir(directory.unwrap().path()).unwrap() {
                files += 1;
                bytes += file.unwrap().metadata().unwrap().len();
            }
        }
        assert_eq!(files, FILES);
        let mean = bytes / FILES as u64;
        assert!((4000..4200).contains(&mean), "{mean}");
    }
}
