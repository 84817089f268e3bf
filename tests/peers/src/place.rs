//! Where iceoryx2 keeps its files here.

use iceoryx2::prelude::*;

/// Whatever goes wrong: it is only ever told.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Kind of the services: between processes, one thread each.
pub(crate) type Kind = ipc::Service;

/// A node of iceoryx2 with files of its own.
pub(crate) struct Place {
    node: Node<Kind>,
}

impl Place {
    pub(crate) fn new(root: &str, prefix: &str) -> Result<Place, Failure> {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        let root = Path::new(root.as_bytes()).map_err(|error| format!("{root:?}: {error:?}"))?;
        config.global.set_root_path(&root);
        let prefix = FileName::new(prefix.as_bytes());
        config.global.prefix = prefix.map_err(|error| format!("a prefix: {error:?}"))?;
        let node = NodeBuilder::new().config(&config).create::<Kind>()?;
        Ok(Place { node })
    }

    /// A builder of the service `name`.
    pub(crate) fn service(
        &self,
        name: &str,
    ) -> Result<iceoryx2::service::builder::Builder<Kind>, Failure> {
        let name: ServiceName = name.try_into()?;
        Ok(self.node.service_builder(&name))
    }
}
