//! Who does what: the commands that are measured.

use std::path::Path;

use super::work::{Work, base};
use crate::image::NAME;
use crate::pull::step::words;

/// Name of what is built.
const TAG: &str = "built";

/// Somebody does some work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub work: Work,
    /// Who.
    pub tool: Tool,
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `mini-docker build`.
    MiniDocker,
    /// No build: `mini-docker run` of the base image, once for each `RUN`.
    Run,
    /// `buildah build --layers` with runc.
    Oci,
    /// `buildah build --layers` with buildah's own containers, which have the host's network.
    Chroot,
    /// `buildah build --layers=false` with runc: all steps in one container, one layer, no cache.
    OneLayer,
    /// No build: `cp -R`.
    Cp,
}

/// What the commands of a step are told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    /// The binary that is measured.
    pub(crate) binary: &'p Path,
    /// Folder of the tool's stores.
    pub(crate) store: &'p Path,
    /// Folder that is built from.
    pub(crate) context: &'p Path,
    /// The base image, as `docker save` writes it.
    pub(crate) base: &'p Path,
}

impl Tool {
    /// Programs that it needs; `mini-docker` is the one that was named or found.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Self::MiniDocker | Self::Run => &["mini-docker"],
            Self::Oci | Self::OneLayer => &["buildah", "runc"],
            Self::Chroot => &["buildah"],
            Self::Cp => &["cp"],
        }
    }

    /// The commands that bring the base image to a new store.
    pub(crate) fn load(self, place: &Place<'_>) -> Vec<Vec<String>> {
        let base = place.base.display().to_string();
        match self {
            Self::MiniDocker | Self::Run => {
                vec![mini_docker(place, &["load", "--quiet", "--input", &base])]
            }
            Self::Oci | Self::Chroot | Self::OneLayer => {
                // A name without a registry is one of this machine's to buildah.
                let name = format!("localhost/{NAME}");
                vec![
                    buildah(place, &["pull", "--quiet", &format!("docker-archive:{base}")]),
                    buildah(place, &["tag", &name, &self::base()]),
                ]
            }
            Self::Cp => Vec::new(),
        }
    }
}

impl Step {
    /// All of them, in the order of the table.
    pub fn all() -> Vec<Self> {
        let tools = |work| match work {
            Work::Nothing | Work::Changed | Work::Same => &[Tool::MiniDocker, Tool::Chroot][..],
            Work::First => &[Tool::MiniDocker, Tool::Chroot, Tool::Cp],
            Work::Chain => &[Tool::MiniDocker, Tool::Run, Tool::Oci, Tool::Chroot, Tool::OneLayer],
            Work::One => &[Tool::MiniDocker, Tool::Run, Tool::Oci, Tool::Chroot],
        };
        let step = |work| tools(work).iter().map(move |&tool| Self { work, tool });
        Work::ALL.into_iter().flat_map(step).collect()
    }

    /// A short name without spaces, for filters: `run-20/buildah-oci`.
    pub fn id(self) -> String {
        let tool = match self.tool {
            Tool::MiniDocker => "mini-docker",
            Tool::Run => "mini-docker-run",
            Tool::Oci => "buildah-oci",
            Tool::Chroot => "buildah-chroot",
            Tool::OneLayer => "buildah-one-layer",
            Tool::Cp => "cp",
        };
        format!("{}/{tool}", self.work.id())
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        match (self.tool, self.work.runs()) {
            (Tool::MiniDocker, _) => "mini-docker build",
            (Tool::Run, 1) => "mini-docker run",
            (Tool::Run, _) => "20 times mini-docker run",
            (Tool::Oci, _) => "buildah --layers, runc",
            // Nothing is run, so it does not matter how.
            (Tool::Chroot, 0) => "buildah --layers",
            (Tool::Chroot, _) => "buildah --layers, chroot",
            (Tool::OneLayer, _) => "buildah, one layer, runc",
            (Tool::Cp, _) => "cp -R",
        }
    }

    /// Its commands, in order.
    pub(crate) fn commands(self, place: &Place<'_>) -> Vec<Vec<String>> {
        let context = place.context.display().to_string();
        // The twenty `RUN` of a chain are the same words; without this, only what is below tells them apart.
        let anew: &[&str] = if self.work.runs() > 0 { &["--no-cache"] } else { &[] };
        match self.tool {
            Tool::MiniDocker => {
                let build = ["build", "--network", "none", "--tag", TAG];
                vec![mini_docker(place, &[&build[..], anew, &[&context]].concat())]
            }
            Tool::Run => {
                let base = base();
                let run = ["run", "--rm", "--network", "none", &base, "/bin/sh", "-c", "true"];
                vec![mini_docker(place, &run); self.work.runs()]
            }
            Tool::Oci | Tool::OneLayer => {
                let layers = if self.tool == Tool::Oci { "--layers" } else { "--layers=false" };
                let build = ["build", layers, "--isolation", "oci", "--runtime", "runc"];
                let build = [&build[..], &["--network", "none", "--tag", TAG], anew, &[&context]];
                vec![buildah(place, &build.concat())]
            }
            Tool::Chroot => {
                let build = ["build", "--layers", "--isolation", "chroot", "--tag", TAG];
                vec![buildah(place, &[&build[..], anew, &[&context]].concat())]
            }
            Tool::Cp => {
                let to = place.store.join("tree").display().to_string();
                vec![words(&["cp", "-R", &format!("{context}/tree"), &to])]
            }
        }
    }

    /// Whether its output says that every step was found in the cache.
    pub(crate) fn was_cached(self, output: &str) -> bool {
        let lines = |word: &str| output.lines().filter(|line| line.contains(word)).count();
        let steps = self.work.steps();
        // `mini-docker` does not tell of what only changes settings.
        let settings = |step: &&String| step.starts_with("ENV ") || step.starts_with("LABEL ");
        match self.tool {
            Tool::MiniDocker => {
                lines(" CACHED") == steps.len() - steps.iter().filter(settings).count()
            }
            Tool::Oci | Tool::Chroot => lines("Using cache ") == steps.len(),
            Tool::Run | Tool::OneLayer | Tool::Cp => false,
        }
    }
}

fn mini_docker(place: &Place<'_>, arguments: &[&str]) -> Vec<String> {
    let at = |name: &str| place.store.join(name).display().to_string();
    let (binary, root, run) = (place.binary.display().to_string(), at("root"), at("run"));
    [words(&[&binary, "--root", &root, "--run-root", &run]), words(arguments)].concat()
}

fn buildah(place: &Place<'_>, arguments: &[&str]) -> Vec<String> {
    let at = |name: &str| place.store.join(name).display().to_string();
    let (root, run) = (at("root"), at("run"));
    let start = ["buildah", "--root", &root, "--runroot", &run, "--storage-driver", "overlay"];
    [words(&start), words(arguments)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::work::STEPS;

    #[test]
    fn names_are_unique_and_a_chain_has_as_many_runs_as_steps() {
        let mut ids: Vec<String> = Step::all().into_iter().map(Step::id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        let path = Path::new("/x");
        let place = Place { binary: path, store: path, context: path, base: path };
        let commands = |work, tool| Step { work, tool }.commands(&place);
        assert_eq!(commands(Work::Chain, Tool::Run).len(), STEPS);
        assert!(commands(Work::One, Tool::Oci)[0].contains(&"--no-cache".to_owned()));
        assert!(!commands(Work::Same, Tool::MiniDocker)[0].contains(&"--no-cache".to_owned()));
    }

    #[test]
    fn a_step_that_was_done_is_seen_in_the_output() {
        let cached = |work, tool, output: &str| Step { work, tool }.was_cached(output);
        assert!(cached(Work::Same, Tool::MiniDocker, "#1 [2/2] COPY tree\n#1 CACHED\n"));
        assert!(!cached(Work::Same, Tool::MiniDocker, "#1 [2/2] COPY tree\n#1 DONE 0.1s\n"));
        // Of the twenty steps five are ENV and three are LABEL.
        assert!(cached(Work::Nothing, Tool::MiniDocker, &"#1 CACHED\n".repeat(12)));
        assert!(!cached(Work::Nothing, Tool::MiniDocker, &"#1 CACHED\n".repeat(11)));
        assert!(cached(Work::Nothing, Tool::Chroot, &"--> Using cache 12\n".repeat(20)));
        assert!(!cached(Work::Same, Tool::Chroot, "STEP 2/2: COPY tree\n--> 1234\n"));
    }
}
