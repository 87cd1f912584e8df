//! Real hosts' files, shortened.

use super::*;

const UNIFIED: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup ro,nosuid shared:4 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:30 / /sys/fs/cgroup/systemd rw shared:6 - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw shared:8 - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/blkio rw shared:9 - cgroup cgroup rw,blkio\n";

const HYBRID_OWN: &str = "\
4:memory:/user.slice/session-1.scope
3:cpu,cpuacct:/user.slice
1:name=systemd:/user.slice/x
0::/user.slice/user@1000.service\n";

fn paths(all: &Hierarchies) -> Vec<(&str, String)> {
    let name = |one: &Hierarchy| match one.version {
        Version::V1 => one.controllers[0].v1_name(),
        Version::V2 => "v2",
    };
    all.iter().map(|one| (name(one), one.parent.display().to_string())).collect()
}

#[test]
fn unified() {
    let all = Hierarchies::from_mountinfo(UNIFIED, "0::/system.slice/a.service\n").unwrap();
    assert_eq!(all.mode(), Mode::Unified);
    assert_eq!(paths(&all), [("v2", "/sys/fs/cgroup/system.slice/a.service".to_owned())]);
    assert_eq!(all.controllers(), ["freezer", "cpuacct", "devices"]);
}

#[test]
fn hybrid_with_shared_trees_and_own_places() {
    let mut all = Hierarchies::from_mountinfo(HYBRID, HYBRID_OWN).unwrap();
    assert_eq!(all.mode(), Mode::Hybrid);
    assert_eq!(
        paths(&all),
        [
            ("v2", "/sys/fs/cgroup/unified/user.slice/user@1000.service".to_owned()),
            ("cpu", "/sys/fs/cgroup/cpu,cpuacct/user.slice".to_owned()),
            ("memory", "/sys/fs/cgroup/memory/user.slice/session-1.scope".to_owned()),
            ("blkio", "/sys/fs/cgroup/blkio/".to_owned()),
        ]
    );
    assert_eq!(all.home(Controller::Cpuacct), all.home(Controller::Cpu));
    // v2 offers pids and memory, but memory is taken.
    all.hand_out(0, "memory pids\n");
    assert_eq!(all.home(Controller::Pids), all.v2());
    assert_eq!(all.home(Controller::Memory).unwrap().version, Version::V1);
    assert_eq!(all.home(Controller::Freezer), all.v2());
    assert_eq!(all.home(Controller::Cpuset), None);
}

#[test]
fn inside_a_container_without_cgroup_namespace() {
    let mountinfo =
        "90 80 0:32 /docker/c0ffee /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n";
    let own = "4:memory:/docker/c0ffee/inner\n";
    let all = Hierarchies::from_mountinfo(mountinfo, own).unwrap();
    assert_eq!(all.mode(), Mode::Legacy);
    assert_eq!(paths(&all), [("memory", "/sys/fs/cgroup/memory/inner".to_owned())]);
    // The bind mount does not show our own place at all.
    let all = Hierarchies::from_mountinfo(mountinfo, "4:memory:/elsewhere\n").unwrap();
    assert_eq!(paths(&all), [("memory", "/sys/fs/cgroup/memory/".to_owned())]);
}

#[test]
fn names_with_spaces_and_paths_out_of_the_namespace() {
    let mountinfo = "1 2 0:3 / /my\\040cgroups rw - cgroup2 none rw\n";
    let all = Hierarchies::from_mountinfo(mountinfo, "0::/../../x\n").unwrap();
    assert_eq!(paths(&all), [("v2", "/my cgroups/".to_owned())]);
}

#[test]
fn nothing_mounted() {
    let none =
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n33 31 0:30 / /x rw - cgroup cgroup rw,name=systemd\n";
    assert_eq!(Hierarchies::from_mountinfo(none, "0::/\n"), Err(Error::NotMounted));
    assert!(Error::NotMounted.to_string().contains("hint: "));
    let missing = Controller::Cpuset.missing().to_string();
    assert!(missing.starts_with("the cpuset controller is not available here\nhint: `cpuset`"));
}
