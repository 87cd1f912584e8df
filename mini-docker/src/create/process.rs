//! The process: its arguments, environment, working directory, capabilities and limits.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::{
    Capability, LinuxCapabilitiesBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
    Process, ProcessBuilder, UserBuilder,
};

use super::options::{NetworkFlags, Options};
use crate::failure::Failure;

/// Where programs are looked for when neither image nor user says so; Docker's value.
pub(crate) const DEFAULT_PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// ENTRYPOINT and CMD joined: a command replaces CMD, `--entrypoint` replaces ENTRYPOINT and forgets CMD.
pub(super) fn arguments(
    config: &ImageConfig,
    entrypoint: Option<&str>,
    command: &[String],
) -> Result<Vec<String>> {
    let mut args: Vec<String> = match entrypoint {
        Some("") => Vec::new(),
        Some(program) => vec![program.to_owned()],
        None => config.entrypoint().clone().unwrap_or_default(),
    };
    if command.is_empty() && entrypoint.is_none() {
        args.extend(config.cmd().clone().unwrap_or_default());
    } else {
        args.extend_from_slice(command);
    }
    match args.first() {
        Some(program) if !program.is_empty() => Ok(args),
        Some(_) => Err(Failure::new("the command is empty").into()),
        None => Err(Failure::new("no command given, and the image names none")
            .hint("mini-docker run IMAGE COMMAND")
            .into()),
    }
}

/// Ports of EXPOSE and `--expose`: `80/tcp`.
pub(super) fn exposed(config: &ImageConfig, flags: &NetworkFlags) -> Result<Vec<String>> {
    let mut ports: Vec<String> = Vec::new();
    let all = config.exposed_ports().iter().flatten().chain(&flags.expose);
    for port in all {
        let with_protocol = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        // The grammar of a published port without a host part is the same.
        network::parse_publish(&with_protocol)?;
        if !ports.contains(&with_protocol) {
            ports.push(with_protocol);
        }
    }
    Ok(ports)
}

/// The process of the spec. Its user is looked up when the container's files are there (see `container::user`).
pub(super) fn process(
    config: &ImageConfig,
    args: &[String],
    hostname: &str,
    options: &Options,
) -> Result<Process> {
    let isolation = &options.isolation;
    let capabilities =
        security::compute(&isolation.cap_add, &isolation.cap_drop, isolation.privileged)
            .map_err(|error| Failure::new(error.to_string()).hint("see capabilities(7)"))?;
    let capabilities: HashSet<Capability> = capabilities
        .iter()
        .filter_map(|capability| capability.to_string().trim_start_matches("CAP_").parse().ok())
        .collect();
    let mut process = ProcessBuilder::default()
        .terminal(options.tty)
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build()?)
        .args(args)
        .env(environment(config, hostname, options)?)
        .cwd(workdir(config, options)?)
        .capabilities(
            LinuxCapabilitiesBuilder::default()
                .bounding(capabilities.clone())
                .effective(capabilities.clone())
                .permitted(capabilities)
                .inheritable(HashSet::new())
                .ambient(HashSet::new())
                .build()?,
        )
        .rlimits(rlimits(&options.limits.ulimit)?)
        .no_new_privileges(no_new_privileges(&isolation.security_opt, isolation.privileged)?)
        .build()?;
    process.set_oom_score_adj(options.limits.oom_score_adj);
    Ok(process)
}

fn workdir(config: &ImageConfig, options: &Options) -> Result<String> {
    let workdir = options.workdir.clone().or(config.working_dir().clone());
    match workdir.filter(|dir| !dir.is_empty()) {
        None => Ok("/".to_owned()),
        Some(dir) if dir.starts_with('/') => Ok(dir),
        Some(dir) => Err(Failure::new(format!("the working directory `{dir}` is not absolute"))
            .hint("begin it with `/`")
            .into()),
    }
}

/// PATH, HOSTNAME and TERM, then the image's, then the files', then the flags': the last of a name wins.
pub(super) fn environment(
    config: &ImageConfig,
    hostname: &str,
    options: &Options,
) -> Result<Vec<String>> {
    let mut variables = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if options.tty {
        variables.push("TERM=xterm".to_owned());
    }
    for variable in config.env().iter().flatten() {
        set(&mut variables, variable);
    }
    add_variables(&mut variables, &options.env_file, &options.env)?;
    Ok(variables)
}

/// Adds the variables of `--env-file` and `-e` to others: the last of a name wins, and one that is named without a value
/// has the one here, or is taken away.
///
/// # Errors
/// If a file cannot be read, or a line is no variable.
pub(crate) fn add_variables(
    variables: &mut Vec<String>,
    files: &[PathBuf],
    flags: &[String],
) -> Result<()> {
    let mut given = Vec::new();
    for file in files {
        for line in lines_of(file)? {
            // In a file it is a mistake (`export A=1`); a flag is taken at its word.
            if name_of(&line).contains(char::is_whitespace) {
                return Err(Failure::new(format!(
                    "invalid environment variable `{line}` in `{}`",
                    file.display()
                ))
                .hint("each line is NAME=VALUE, or NAME to pass on its value here; a name has no blanks")
                .into());
            }
            given.push(line);
        }
    }
    given.extend(flags.iter().cloned());
    for variable in given {
        let name = name_of(&variable);
        if name.is_empty() {
            return Err(Failure::new(format!("invalid environment variable `{variable}`"))
                .hint("-e takes NAME=VALUE, or NAME to pass on its value here")
                .into());
        }
        if variable.contains('=') {
            set(variables, &variable);
        } else if let Ok(value) = std::env::var(name) {
            set(variables, &format!("{name}={value}"));
        } else {
            let prefix = format!("{name}=");
            variables.retain(|other| !other.starts_with(&prefix));
        }
    }
    Ok(())
}

fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}

fn set(variables: &mut Vec<String>, variable: &str) {
    let end = variable.find('=').map_or(variable.len(), |at| at + 1);
    match variables.iter_mut().find(|other| other.get(..end) == variable.get(..end)) {
        Some(other) => variable.clone_into(other),
        None => variables.push(variable.to_owned()),
    }
}

/// The lines of a file of variables or labels, without comments and empty lines.
pub(super) fn lines_of(file: &Path) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
    Ok(text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

fn rlimits(flags: &[String]) -> Result<Vec<PosixRlimit>> {
    flags.iter().map(|flag| rlimit(flag)).collect()
}

/// `nofile=1024:2048`; one number is both; `unlimited` and -1 are no limit.
fn rlimit(flag: &str) -> Result<PosixRlimit> {
    let wrong = |what: &str| {
        Failure::new(format!("invalid ulimit `{flag}`: {what}"))
            .hint("NAME=SOFT[:HARD], as in nofile=1024:2048; names: core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack")
    };
    let (name, values) = flag.split_once('=').ok_or_else(|| wrong("no value"))?;
    let kind: PosixRlimitType =
        serde_json::from_value(format!("RLIMIT_{}", name.to_uppercase()).into())
            .map_err(|_| wrong("unknown name"))?;
    let number = |text: &str| match text {
        "unlimited" | "-1" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| wrong("not a number")),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(wrong("the soft limit is above the hard one").into());
    }
    Ok(PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build()?)
}

/// On by default, unlike Docker: a set-user-id program gains nothing inside a container unless the user says so.
fn no_new_privileges(options: &[String], privileged: bool) -> Result<bool> {
    let mut value = !privileged;
    for option in options {
        value = match option.replace(':', "=").as_str() {
            "no-new-privileges" | "no-new-privileges=true" => true,
            "no-new-privileges=false" => false,
            // So it is in any case: there is no filter and no label yet that could be taken away.
            "seccomp=unconfined" | "apparmor=unconfined" | "label=disable" => value,
            other => {
                return Err(Failure::new(format!("unsupported security option `{other}`"))
                    .hint("supported: no-new-privileges[=true|false], seccomp=unconfined, apparmor=unconfined, label=disable")
                    .into());
            }
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use oci_spec::image::ConfigBuilder;

    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn entrypoint_and_command_join_as_dockers() {
        let image = ConfigBuilder::default()
            .entrypoint(strings(&["entry"]))
            .cmd(strings(&["cmd"]))
            .build()
            .unwrap();
        let table: [(Option<&str>, &[&str], &[&str]); 5] = [
            (None, &[], &["entry", "cmd"]),
            (None, &["x", "y"], &["entry", "x", "y"]),
            (Some("other"), &[], &["other"]),
            (Some("other"), &["x"], &["other", "x"]),
            (Some(""), &["x"], &["x"]),
        ];
        for (entrypoint, command, expected) in table {
            let args = arguments(&image, entrypoint, &strings(command)).unwrap();
            assert_eq!(args, expected, "{entrypoint:?} {command:?}");
        }
        arguments(&ImageConfig::default(), None, &[]).unwrap_err();
    }

    #[test]
    fn the_last_value_of_a_variable_wins() {
        let image = ConfigBuilder::default().env(strings(&["PATH=/image", "A=1"])).build().unwrap();
        let options = Options {
            tty: true,
            env: strings(&["A=2", "B=x=y", "HOSTNAME", "MD_SURELY_UNSET"]),
            ..Options::default()
        };
        let variables = environment(&image, "box", &options).unwrap();
        assert!(variables.contains(&"A=2".to_owned()));
        assert!(variables.contains(&"PATH=/image".to_owned()));
        assert!(variables.contains(&"B=x=y".to_owned()));
        assert!(variables.contains(&"TERM=xterm".to_owned()));
        assert_eq!(variables.iter().filter(|variable| variable.starts_with("PATH=")).count(), 1);
    }

    #[test]
    fn ulimits_have_names_and_order() {
        let limit = rlimit("nofile=10:20").unwrap();
        assert_eq!((limit.soft(), limit.hard()), (10, 20));
        assert_eq!(rlimit("core=unlimited").unwrap().hard(), u64::MAX);
        for wrong in ["nofile", "nofile=x", "nofile=20:10", "files=1"] {
            rlimit(wrong).unwrap_err();
        }
    }

    #[test]
    fn new_privileges_are_refused_unless_asked_for() {
        assert!(no_new_privileges(&[], false).unwrap());
        assert!(!no_new_privileges(&[], true).unwrap());
        assert!(!no_new_privileges(&strings(&["no-new-privileges=false"]), false).unwrap());
        for nothing in
            ["seccomp=unconfined", "seccomp:unconfined", "apparmor=unconfined", "label=disable"]
        {
            assert!(no_new_privileges(&strings(&[nothing]), false).unwrap(), "{nothing}");
        }
        no_new_privileges(&strings(&["apparmor=x"]), false).unwrap_err();
    }
}
