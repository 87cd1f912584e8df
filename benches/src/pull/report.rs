//! Medians, and ratios: to the limit, to the quickest peer, to podman's CPU time.

use super::image::Image;
use super::job::Reading;
use super::step::{Limit, Step, Tool, Way};
use crate::stats::{bootstrap, median, median_of, percentile};

/// All figures, image by image.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// In the order of the images.
    pub sections: Vec<Section>,
    /// Rounds that counted.
    pub rounds: usize,
}

/// The figures of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// What the image is.
    pub description: String,
    /// In the order of [`Way::ALL`].
    pub rows: Vec<Row>,
    /// The slower of inflating with hashing and of writing the files, in seconds, if both were measured.
    pub limit: Option<f64>,
    /// CPU time of both together in seconds, divided by the number of processors: another limit, and on few
    /// processors it may be the longer one.
    pub shared: Option<f64>,
    /// CPU time of the registry for one pull, in seconds.
    pub registry: Option<f64>,
    /// `mini-docker` against the others.
    pub verdicts: Vec<Verdict>,
}

/// What is known of a step. Medians, times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which one.
    pub way: Way,
    /// Wall time.
    pub wall: f64,
    /// Wall time that 5 % of the runs stay below.
    pub p5: f64,
    /// Wall time that 95 % of the runs stay below.
    pub p95: f64,
    /// CPU time in user mode.
    pub user: f64,
    /// CPU time in the kernel.
    pub system: f64,
    /// Resident memory of the largest process, in MB.
    pub peak: f64,
    /// Wall time until everything is on the disk.
    pub synced: f64,
    /// Wall time in limits; not of the limits themselves.
    pub to_limit: Option<Ratio>,
}

/// How `mini-docker` stands, pulling or unpacking.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// `mini-docker`'s way.
    pub way: Way,
    /// Wall time in limits.
    pub to_limit: Option<Ratio>,
    /// Wall time in [`Section::shared`].
    pub to_shared: Option<Ratio>,
    /// Wall time in those of the quickest peer, and which one that is.
    pub to_peer: Option<(Ratio, Way)>,
    /// Time until everything is on the disk in that of the peer that is quickest in this.
    pub synced_to_peer: Option<Ratio>,
    /// CPU time in user mode in podman's.
    pub user_to_podman: Option<Ratio>,
}

/// A quotient of medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// It.
    pub value: f64,
    /// Half the width of its 95 % interval, by the bootstrap over rounds.
    pub margin: f64,
}

/// Readings of the steps with one image.
struct Measured<'m> {
    steps: Vec<(Way, &'m [Reading])>,
    rounds: usize,
    processors: usize,
}

impl Report {
    /// Sums up the readings of `steps`, round by round, on a machine with some processors.
    pub fn new(
        images: &[Image],
        steps: &[Step],
        readings: &[Vec<Reading>],
        processors: usize,
    ) -> Self {
        let rounds = readings.first().map_or(0, Vec::len);
        let section = |(at, image): (usize, &Image)| {
            let all = steps.iter().zip(readings).filter(|(step, _)| step.image == at);
            let steps = all.map(|(step, readings)| (step.way, &readings[..])).collect();
            Measured { steps, rounds, processors }.section(image.description())
        };
        Self { sections: images.iter().enumerate().map(section).collect(), rounds }
    }
}

impl Measured<'_> {
    fn section(&self, description: String) -> Section {
        let every: Vec<usize> = (0..self.rounds).collect();
        let pulls = self.steps.iter().filter(|(way, _)| matches!(way, Way::Pull(_)));
        let registry: Vec<f64> =
            pulls.flat_map(|(_, all)| all.iter().map(|r| r.registry)).collect();
        Section {
            description,
            rows: self.steps.iter().map(|(way, readings)| self.row(*way, readings)).collect(),
            limit: self.limit(&every),
            shared: self.shared(&every),
            registry: (!registry.is_empty()).then(|| median(registry)),
            verdicts: [Way::Pull as fn(Tool) -> Way, Way::Unpack]
                .into_iter()
                .filter_map(|way| self.verdict(way))
                .collect(),
        }
    }

    fn row(&self, way: Way, readings: &[Reading]) -> Row {
        let column = |value: fn(&Reading) -> f64| readings.iter().map(value).collect::<Vec<_>>();
        let walls = column(|reading| reading.wall);
        Row {
            way,
            wall: median(walls.clone()),
            p5: percentile(walls.clone(), 0.05),
            p95: percentile(walls, 0.95),
            user: median(column(|reading| reading.user)),
            system: median(column(|reading| reading.system)),
            peak: median(column(|reading| reading.peak as f64 * 1024.0 / 1e6)),
            synced: median(column(|reading| reading.synced)),
            to_limit: if matches!(way, Way::Limit(_)) { None } else { self.to_limit(way) },
        }
    }

    fn verdict(&self, way: fn(Tool) -> Way) -> Option<Verdict> {
        let own = way(Tool::MiniDocker);
        self.column(own, |reading| reading.wall)?;
        let quickest = |value: fn(&Reading) -> f64| {
            let peers = [Tool::Podman, Tool::Umoci, Tool::UmociRaw].map(way);
            let median = |way: Way| Some((way, median(self.column(way, value)?)));
            let all = peers.into_iter().filter_map(median);
            all.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(way, _)| way)
        };
        let peer = quickest(|reading| reading.wall);
        let synced_peer = quickest(|reading| reading.synced);
        Some(Verdict {
            way: own,
            to_limit: self.to_limit(own),
            to_shared: self.to(own, |rounds| self.shared(rounds)),
            to_peer: peer
                .and_then(|peer| Some((self.ratio(own, peer, |reading| reading.wall)?, peer))),
            synced_to_peer: synced_peer
                .and_then(|peer| self.ratio(own, peer, |reading| reading.synced)),
            user_to_podman: self.ratio(own, way(Tool::Podman), |reading| reading.user),
        })
    }

    fn column(&self, way: Way, value: fn(&Reading) -> f64) -> Option<Vec<f64>> {
        let (_, readings) = self.steps.iter().find(|(other, _)| *other == way)?;
        Some(readings.iter().map(value).collect())
    }

    fn ratio(&self, one: Way, other: Way, value: fn(&Reading) -> f64) -> Option<Ratio> {
        let (one, other) = (self.column(one, value)?, self.column(other, value)?);
        let of = |rounds: &[usize]| median_of(&one, rounds) / median_of(&other, rounds);
        Some(Ratio::new(bootstrap(self.rounds, of)))
    }

    fn to_limit(&self, way: Way) -> Option<Ratio> {
        self.to(way, |rounds| self.limit(rounds))
    }

    /// Wall time in something else that rounds have.
    fn to(&self, way: Way, other: impl Fn(&[usize]) -> Option<f64>) -> Option<Ratio> {
        let walls = self.column(way, |reading| reading.wall)?;
        other(&[])?;
        let of = |rounds: &[usize]| median_of(&walls, rounds) / other(rounds).unwrap_or(f64::NAN);
        Some(Ratio::new(bootstrap(self.rounds, of)))
    }

    /// The limit as some rounds have it: the files may be written one layer after the other or several at once,
    /// whichever is quicker here.
    fn limit(&self, rounds: &[usize]) -> Option<f64> {
        let wall = |limit| {
            let walls = self.column(Way::Limit(limit), |reading| reading.wall)?;
            Some(median_of(&walls, rounds))
        };
        let (inflate, tar) = (wall(Limit::Inflate)?, wall(Limit::Tar)?);
        Some(inflate.max(wall(Limit::TarAtOnce).map_or(tar, |at_once| tar.min(at_once))))
    }

    fn shared(&self, rounds: &[usize]) -> Option<f64> {
        let cpu = |limit| {
            let cpu = self.column(Way::Limit(limit), |reading| reading.user + reading.system)?;
            Some(median_of(&cpu, rounds))
        };
        Some((cpu(Limit::Inflate)? + cpu(Limit::Tar)?) / self.processors as f64)
    }
}

impl Ratio {
    fn new((value, margin): (f64, f64)) -> Self {
        Self { value, margin }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A reading of which only some figures matter.
    fn reading(wall: f64, user: f64) -> Reading {
        Reading { wall, user, system: 0.5, peak: 1000, synced: wall + 1.0, registry: 0.25 }
    }

    /// One image, pulled; the others are twice as slow, podman needs four times the CPU time.
    pub(crate) fn report() -> Report {
        let walls = [
            (Way::Limit(Limit::Inflate), [2.0, 2.2, 2.1], 1.5),
            (Way::Limit(Limit::Tar), [4.0, 4.1, 4.2], 0.5),
            (Way::Limit(Limit::TarAtOnce), [3.0, 3.1, 3.2], 0.5),
            (Way::Pull(Tool::MiniDocker), [3.1, 3.2, 3.0], 1.0),
            (Way::Pull(Tool::Podman), [8.0, 8.1, 8.2], 4.0),
            (Way::Pull(Tool::UmociRaw), [6.2, 6.2, 6.2], 2.0),
        ];
        let readings: Vec<Vec<Reading>> = walls
            .iter()
            .map(|(_, walls, user)| walls.map(|wall| reading(wall, *user)).to_vec())
            .collect();
        let steps = walls.iter().zip(&readings).map(|((way, ..), all)| (*way, &all[..])).collect();
        let section =
            Measured { steps, rounds: 3, processors: 2 }.section("one image: 1 MB".to_owned());
        Report { sections: vec![section], rounds: 3 }
    }

    #[test]
    fn the_limit_is_the_slower_part_done_the_quicker_way() {
        let section = report().sections.remove(0);
        assert_eq!(section.limit, Some(3.1));
        assert_eq!(section.shared, Some(1.5));
        assert_eq!(section.registry, Some(0.25));
        let row = |way| section.rows.iter().find(|row| row.way == way).unwrap();
        assert_eq!(row(Way::Pull(Tool::MiniDocker)).to_limit.unwrap().value, 1.0);
        assert_eq!(row(Way::Pull(Tool::UmociRaw)).to_limit.unwrap().value, 2.0);
        assert_eq!(row(Way::Limit(Limit::Tar)).to_limit, None);
        assert_eq!(row(Way::Limit(Limit::Tar)).synced, 5.1);
    }

    #[test]
    fn the_quickest_peer_is_the_one_to_beat() {
        let [verdict] = &report().sections[0].verdicts[..] else { panic!("one verdict") };
        assert_eq!(verdict.way, Way::Pull(Tool::MiniDocker));
        let (ratio, peer) = verdict.to_peer.unwrap();
        assert_eq!((ratio.value, peer), (0.5, Way::Pull(Tool::UmociRaw)));
        assert!(ratio.margin > 0.0);
        assert_eq!(verdict.synced_to_peer.unwrap().value, 4.1 / 7.2);
        assert_eq!(verdict.to_shared.unwrap().value, 3.1 / 1.5);
        // The same in every round: nothing is left to chance.
        let user = verdict.user_to_podman.unwrap();
        assert_eq!((user.value, user.margin), (0.25, 0.0));
    }

    #[test]
    fn without_a_limit_there_is_no_ratio_to_it() {
        let readings = [reading(1.0, 1.0)];
        let steps = vec![(Way::Pull(Tool::MiniDocker), &readings[..])];
        let section = Measured { steps, rounds: 1, processors: 2 }.section(String::new());
        assert_eq!((section.limit, section.rows[0].to_limit), (None, None));
        assert_eq!(section.verdicts[0].to_peer, None);
    }
}
