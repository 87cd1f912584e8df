//! A builder in 70 lines: FROM, COPY, RUN, ENV and CMD, one line each. Needs root. The image is for
//! `mini-docker run`.
//!
//! `MINI_DOCKER_ROOT=STORE cargo run -p build --example toy -- FOLDER NAME`

use std::{env, error::Error, fs, os::fd::AsFd, os::fd::AsRawFd, path::Path, process::Command};

use images::{Image, Reference, Store, commit::Derived, commit::History, commit::NewLayer};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, context, name] = &arguments[..] else { return Err("usage: toy FOLDER NAME".into()) };
    let store = Store::open(&Path::new(&env::var("MINI_DOCKER_ROOT")?).join("images"))?;
    let mut image = None;
    for line in fs::read_to_string(format!("{context}/Dockerfile"))?.lines() {
        let (word, rest) = line.split_once(' ').ok_or(format!("what is `{line}`?"))?;
        if word == "FROM" {
            image = Some(store.resolve(rest)?);
            continue;
        }
        let base = image.ok_or("it must begin with FROM")?;
        let mut settings = store.process_json(&base)?;
        let mut env = settings.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut layers = Vec::new();
        match word {
            "ENV" => env.push(rest.into()),
            "CMD" => drop(settings.insert("Cmd".into(), json!(["/bin/sh", "-c", rest]))),
            "COPY" | "RUN" => layers.push(step(&store, &base, &env, context, line)?),
            _ => return Err(format!("unknown instruction: {word}").into()),
        }
        settings.insert("Env".into(), env.into());
        // An image for each instruction, with a line of history: chapter 08.
        let (empty_layer, created, none) = (layers.is_empty(), Default::default(), String::new);
        let (created_by, author, comment) = (line.to_owned(), none(), none());
        let history = vec![History { created, created_by, author, comment, empty_layer }];
        let (base, process, reference) = (Some(&base), settings, None);
        let made = store.derive(Derived { base, layers, history, process, reference })?;
        image = Some(store.resolve(&made.id)?);
    }
    let image = image.ok_or("nothing to build")?;
    store.tag(&image, &Reference::parse(name)?)?;
    println!("{}", image.id);
    Ok(())
}

/// COPY or RUN upon an image: what they write is a layer.
fn step(store: &Store, base: &Image, env: &[Value], from: &str, line: &str) -> Result<NewLayer> {
    let trees = layers::Store::open(&Path::new(&env::var("MINI_DOCKER_ROOT")?).join("layers"))?;
    let mut lowers = Vec::new();
    for layer in &base.layers {
        let id = layer.diff_id.parse()?;
        if !trees.has(&id) {
            trees.add(&id, store.open_layer(layer)?)?;
        }
        lowers.insert(0, trees.path(&id));
    }
    let aside = tempfile::tempdir_in(".")?;
    let (upper, work) = (aside.path().join("upper"), aside.path().join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    // Chapter 04: a mount without a place. /proc leads to it all the same.
    let tree = layers::overlay(&lowers, Some(&upper), Some(&work))?;
    let root = format!("/proc/{}/fd/{}", std::process::id(), tree.as_raw_fd());
    let status = match line.split(' ').collect::<Vec<_>>()[..] {
        ["COPY", source, target] => Command::new("cp")
            .args(["-r", &format!("{from}/{source}"), &format!("{root}/{target}")])
            .status()?,
        ["RUN", ..] => Command::new("chroot")
            .args([&root, "/bin/sh", "-c", &line["RUN ".len()..]])
            .envs(env.iter().filter_map(|line| line.as_str()?.split_once('=')))
            .status()?,
        _ => return Err(format!("too many words: {line}").into()),
    };
    if !status.success() {
        return Err(format!("{line}: {status}").into());
    }
    drop(tree);
    let upper = fs::File::open(&upper)?;
    let layer = store.new_layer::<_, Box<dyn Error>>(|out| Ok(layers::diff(upper.as_fd(), out)?));
    Ok(layer?.0)
}
