//! The process of `exec`: the container's own, as the flags change it.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use oci_spec::runtime::{Capability, LinuxCapabilitiesBuilder, Spec};
use serde_json::Value;

use super::Request;
use crate::container::user;
use crate::create::add_variables;
use crate::engine::Engine;
use crate::failure::{self, Failure, code};
use crate::record::Record;

/// Changes the process of a container's spec into the one that is asked for. `root` opens the container's root.
///
/// # Errors
/// An unknown user, a relative folder, a wrong variable.
pub(super) fn apply(
    engine: &Engine,
    record: &Record,
    spec: &mut Spec,
    request: &Request,
    root: impl FnOnce() -> Result<OwnedFd>,
) -> Result<()> {
    if let Some(user) = request.user.as_deref().filter(|user| !user.is_empty()) {
        if !has_own(engine, record, "HOME=")? {
            forget(spec, "HOME=");
        }
        let other = Record { user: user.to_owned(), ..record.clone() };
        user::look_up(root()?.as_fd(), &other, spec).map_err(refused)?;
    }
    // The container's own terminal is not this process's.
    if !request.terminal && has(spec, "TERM=") && !has_own(engine, record, "TERM=")? {
        forget(spec, "TERM=");
    }
    let process = spec.process_mut().as_mut().context("the spec has no `process` part")?;
    process.set_args(Some(request.args.clone()));
    process.set_terminal(Some(request.terminal));
    let mut variables = process.env().clone().unwrap_or_default();
    if request.terminal && !variables.iter().any(|variable| variable.starts_with("TERM=")) {
        variables.push("TERM=xterm".to_owned());
    }
    add_variables(&mut variables, &request.env_files, &request.env)?;
    process.set_env(Some(variables));
    match request.workdir.as_deref() {
        None | Some("") => {}
        Some(folder) if folder.starts_with('/') => drop(process.set_cwd(folder.into())),
        Some(folder) => {
            return Err(Failure::new(format!("the working directory `{folder}` is not absolute"))
                .hint("begin it with `/`")
                .code(code::NOT_EXECUTABLE)
                .into());
        }
    }
    if request.privileged {
        let all = security::compute(&[], &[], true).context("find all capabilities")?;
        let all: HashSet<Capability> = all
            .iter()
            .filter_map(|capability| capability.to_string().trim_start_matches("CAP_").parse().ok())
            .collect();
        let sets = LinuxCapabilitiesBuilder::default()
            .bounding(all.clone())
            .effective(all.clone())
            .permitted(all)
            .inheritable(HashSet::new())
            .ambient(HashSet::new())
            .build()?;
        process.set_capabilities(Some(sets));
        process.set_no_new_privileges(Some(false));
    }
    Ok(())
}

/// Whether the image or the user has set this variable (`NAME=`), which then is everybody's. Otherwise the one in the
/// spec was added for the container's first process: HOME is that of its user, TERM is its terminal's.
fn has_own(engine: &Engine, record: &Record, name: &str) -> Result<bool> {
    if let Some(Value::Array(variables)) = record.config.get("Env") {
        return Ok(variables.iter().filter_map(Value::as_str).any(|one| one.starts_with(name)));
    }
    let Some(image) = &record.image_id else { return Ok(false) };
    let image = engine.images()?.resolve(image).context("look at the container's image")?;
    let config = image.config.config().clone().unwrap_or_default();
    Ok(config.env().iter().flatten().any(|one| one.starts_with(name)))
}

fn has(spec: &Spec, name: &str) -> bool {
    let variables = spec.process().as_ref().and_then(|process| process.env().as_ref());
    variables.is_some_and(|all| all.iter().any(|variable| variable.starts_with(name)))
}

fn forget(spec: &mut Spec, name: &str) {
    if let Some(process) = spec.process_mut()
        && let Some(variables) = process.env_mut()
    {
        variables.retain(|variable| !variable.starts_with(name));
    }
}

/// As what cannot be executed.
fn refused(error: anyhow::Error) -> anyhow::Error {
    failure::explain(&error).code(code::NOT_EXECUTABLE).into()
}
