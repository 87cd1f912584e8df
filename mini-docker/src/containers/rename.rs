//! A container gets another name.

use std::fs::{self, File};

use anyhow::{Context, Result};

use super::{Containers, invalid_name, name_in_use};
use crate::events;
use crate::failure::Failure;
use crate::files::remove_file;

impl Containers<'_> {
    /// Gives a container another name, also while it runs. Killed halfway, it has the old name or the new one, and the
    /// other is free.
    ///
    /// # Errors
    /// If the name is taken or not allowed, or nothing can be written.
    pub fn rename(&self, id: &str, new: &str) -> Result<()> {
        if !crate::names::is_valid(new) {
            return Err(invalid_name(new).into());
        }
        let mut old = String::new();
        let mut linked = false;
        let renamed = self.edit(id, true, |record| {
            if record.name == new {
                return Err(Failure::new(format!("container {new} has that name already"))
                    .hint("choose another one")
                    .into());
            }
            match self.link_name(id, new)? {
                // A rename that was killed has got so far.
                Some(owner) if owner == id => {}
                Some(owner) => return Err(name_in_use(new, &owner).into()),
                None => linked = true,
            }
            // The record must not have a name on the disk that leads nowhere.
            File::open(self.engine.root.join("names"))
                .and_then(|folder| folder.sync_all())
                .context("write the new name")?;
            old = std::mem::replace(&mut record.name, new.to_owned());
            Ok(())
        });
        let record = renamed.inspect_err(|_| {
            if linked {
                fs::remove_file(self.name_file(new)).ok();
            }
        })?;
        events::container(self.engine, &record, "rename", &[("oldName", &format!("/{old}"))]);
        let file = self.name_file(&old);
        match fs::read_to_string(&file) {
            Ok(owner) if owner == id => remove_file(&file),
            _ => Ok(()),
        }
    }

    /// Whether a container that exists has this name, or is about to take it or to give it up.
    pub(super) fn owns(&self, id: &str, name: &str) -> bool {
        if !self.exists(id) {
            return false;
        }
        let has_another = || self.load(id).is_ok_and(|record| record.name != name);
        if !has_another() {
            return true;
        }
        // A rename that goes on holds this lock; one that was killed has left a name behind.
        let Ok(folder) = File::open(self.dir(id)) else { return true };
        folder.try_lock().is_err() || !has_another()
    }

    /// Takes away the file of a name that belongs to nobody. Somebody else may do the same and take the name at once: so
    /// it is looked at once more, under a lock.
    pub(super) fn forget_name(&self, name: &str) -> Result<()> {
        let names = File::open(self.engine.root.join("names")).context("open the names")?;
        names.lock().context("lock the names")?;
        let file = self.name_file(name);
        match fs::read_to_string(&file) {
            Ok(owner) if !self.owns(&owner, name) => remove_file(&file),
            _ => Ok(()),
        }
    }
}
