//! Folders for tests that look at every file in one.

use std::path::{Path, PathBuf};

/// A folder of a test's own in memory, removed when the test ends.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Folder {
        let place = robot_ipc::testing::scratch_place();
        let path = place
            .directory()
            .join(format!("folder-{}", place.namespace()));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Folder(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is in it.
    ///
    /// # Panics
    /// It is not there any more.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("our folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
