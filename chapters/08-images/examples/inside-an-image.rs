//! What is inside an image: from the name by manifest and config to the files of each layer.
//!
//! ```text
//!   inside-an-image STORE load PATH [NAME]            an archive of docker save or skopeo, an OCI layout
//!   inside-an-image STORE import TAR NAME [CHANGE]... a plain root file system becomes an image
//!   inside-an-image STORE list | show NAME | remove NAME
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use images::{Reference, Source, Store};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let [store, command @ ..] = arguments else { return usage() };
    let store = Store::open(Path::new(store))?;
    match command {
        ["load", path, name @ ..] if name.len() < 2 => {
            let name = name.first().map(|name| Reference::parse(name)).transpose()?;
            for loaded in store.load(Source::open(Path::new(path))?, name.as_ref())? {
                let name = loaded.reference.map(|reference| reference.familiar());
                println!("loaded {} {}", name.as_deref().unwrap_or("<none>"), loaded.id);
            }
        }
        ["import", tar, name, changes @ ..] => {
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            let name = Reference::parse(name)?;
            let loaded = store.import(File::open(tar)?, Some(&name), &changes, "imported")?;
            println!("imported {} {}", name.familiar(), loaded.id);
        }
        ["list"] => {
            for image in store.list()? {
                let names: Vec<_> = image.references.iter().map(Reference::familiar).collect();
                println!("{} {} bytes {}", &image.id[7..19], image.size, names.join(" "));
            }
        }
        ["show", name] => show(&store, name)?,
        ["remove", name] => {
            let removed = store.remove(name, false, &|_| Vec::new())?;
            removed.untagged.iter().for_each(|name| println!("Untagged: {name}"));
            removed.deleted.iter().for_each(|digest| println!("Deleted: {digest}"));
        }
        _ => return usage(),
    }
    Ok(())
}

fn show(store: &Store, name: &str) -> Result<(), Box<dyn Error>> {
    let image = store.resolve(name)?;
    for reference in &image.references {
        println!("name      {reference}");
    }
    println!("manifest  {}", image.manifest_digest);
    println!("config    {}  (the image ID)", image.id);
    println!("platform  {}/{}", image.config.os(), image.config.architecture());
    let process = image.config.config().clone().unwrap_or_default();
    let start = [process.entrypoint().clone(), process.cmd().clone()];
    println!("runs      {:?}", start.into_iter().flatten().flatten().collect::<Vec<_>>());
    for (number, layer) in image.layers.iter().enumerate() {
        println!("layer {}   {}, {} bytes", number + 1, layer.media_type, layer.size);
        println!("  blob    {}", layer.digest);
        println!("  diff ID {}  (the same bytes without compression)", layer.diff_id);
        // Some writers leave out the zeros at the end of an archive.
        let tar = store.open_layer(layer)?.chain(std::io::repeat(0).take(1024));
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries()? {
            let entry = entry?;
            println!("  {:>9} {}", entry.size(), entry.path()?.display());
        }
        // Only the end of the stream proves that it was the right blob.
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    }
    Ok(())
}

fn usage() -> Result<(), Box<dyn Error>> {
    Err("inside-an-image STORE load PATH [NAME] | import TAR NAME [CHANGE]... | list | show NAME | remove NAME".into())
}
