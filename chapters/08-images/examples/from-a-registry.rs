//! From a name in a registry to layers on this disk, and back.
//!
//! ```text
//!   from-a-registry ROOT pull NAME     into ROOT/images; its layers are unpacked into ROOT/layers (chapter 04)
//!   from-a-registry ROOT push NAME     an image of ROOT/images, to where its name says
//!   from-a-registry tags NAME          all tags of the name's repository
//! ```
//!
//! `REGISTRY_LOGIN=user:password` is what registries that ask get to see.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use images::registry::{Anonymous, Client, Credential, Credentials, Settings};
use images::{Image, LayerState, Observer, Pull, Push, Reference, Store, Unpack};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("error: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprintln!("  because: {error}");
            cause = error.source();
        }
        std::process::exit(1);
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let client = &Client::new(Settings::default(), credentials());
    match arguments {
        [root, "pull", name] => {
            let store = Store::open(&Path::new(root).join("images"))?;
            let unpack = &Layers(layers::Store::open(&Path::new(root).join("layers"))?);
            let (reference, observer) = (&Reference::parse(name)?, &Steps::default());
            let pull = Pull { client, reference, platform: None, workers: 3, unpack, observer };
            let pulled = store.pull(&pull)?;
            observer.print();
            println!("digest  {}", pulled.digest);
            println!("image   {}", pulled.loaded.id);
            println!("{}", if pulled.up_to_date { "nothing new" } else { "pulled" });
        }
        [root, "push", name] => {
            let store = Store::open(&Path::new(root).join("images"))?;
            let (reference, observer) = (&Reference::parse(name)?, &Steps::default());
            let image = store.resolve(name)?;
            let pushed = store.push(&image, &Push { client, reference, workers: 3, observer })?;
            observer.print();
            println!("digest  {}", pushed.digest);
        }
        ["tags", name] => {
            let reference = Reference::parse(name)?;
            let registry = client.registry(reference.registry());
            registry.tags(reference.repository())?.iter().for_each(|tag| println!("{tag}"));
        }
        _ => return Err("from-a-registry ROOT pull NAME | ROOT push NAME | tags NAME".into()),
    }
    Ok(())
}

/// Chapter 08 fetches, chapter 04 unpacks: this is where the two meet.
struct Layers(layers::Store);

impl Unpack for Layers {
    fn has(&self, diff_id: &str) -> bool {
        diff_id.parse().is_ok_and(|id| self.0.has(&id))
    }

    fn unpack(
        &self,
        diff_id: &str,
        tar: &mut (dyn Read + Send),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.add(&diff_id.parse()?, tar)?;
        Ok(())
    }
}

/// What became of each layer, in the order of the manifest; told at the end, since all of them come at once.
#[derive(Default)]
struct Steps(Mutex<Vec<Vec<&'static str>>>);

impl Observer for Steps {
    fn begin(&self, image: &Image) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = vec![vec![]; image.layers.len()];
    }

    fn layer(&self, at: usize, state: LayerState) {
        let word = match state {
            LayerState::Planned => "planned",
            LayerState::Exists => "exists",
            LayerState::Waiting => "waiting",
            LayerState::Received(_) => "received",
            LayerState::Unpacking => "unpacking",
            LayerState::Verified => "verified",
            LayerState::Complete => "complete",
            LayerState::Compressing => "compressing",
            LayerState::Sent(..) => "sent",
            LayerState::Mounted(_) => "mounted",
        };
        let mut layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(words) = layers.get_mut(at) else { return };
        if words.last() != Some(&word) {
            words.push(word);
        }
    }
}

impl Steps {
    fn print(&self) {
        let layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, words) in layers.iter().enumerate() {
            println!("layer {} {}", number + 1, words.join(", "));
        }
    }
}

/// The same user for every registry: enough for a lesson.
struct Login(Credential);

impl Credentials for Login {
    fn get(&self, _registry: &str) -> io::Result<Option<Credential>> {
        Ok(Some(self.0.clone()))
    }
}

fn credentials() -> Box<dyn Credentials> {
    let login = std::env::var("REGISTRY_LOGIN").unwrap_or_default();
    match login.split_once(':') {
        Some((user, password)) => Box::new(Login(Credential::Password {
            username: user.to_owned(),
            password: password.to_owned(),
        })),
        None => Box::new(Anonymous),
    }
}
