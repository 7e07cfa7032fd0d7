//! The namespaces of a server.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, Weak},
};

use bytestring::ByteString;

use crate::{
    Namespace, NamespaceFamily,
    namespace::{Handlers, Listing, Shared},
    panics::guard,
};

/// The namespaces by name.
pub(crate) struct Registry {
    pub(crate) shared: Arc<Shared>,
    this: Weak<Registry>,
    namespaces: RwLock<Namespaces>,
    on_new: RwLock<Vec<OnNamespace>>,
}

type OnNamespace = Arc<dyn Fn(&Namespace) + Send + Sync>;

#[derive(Default)]
struct Namespaces {
    by_name: HashMap<ByteString, Namespace>,
    families: Vec<Family>,
}

struct Family {
    accepts: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    handlers: Arc<Handlers>,
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            shared,
            this: this.clone(),
            namespaces: RwLock::default(),
            on_new: RwLock::default(),
        })
    }

    /// The namespace of this name, which is created if it does not exist.
    pub(crate) fn of(&self, name: ByteString) -> Namespace {
        let mut is_new = false;
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            is_new = true;
            self.open(name.clone(), Arc::default(), false)
        };
        let namespace = namespaces.by_name.entry(name.clone()).or_insert_with(open).clone();
        drop(namespaces);
        if is_new {
            self.opened(&namespace);
        }
        namespace
    }

    /// All namespaces whose name `accepts` returns true for.
    pub(crate) fn of_matching(&self, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> NamespaceFamily {
        let handlers: Arc<Handlers> = Arc::default();
        let family = Family { accepts: Arc::new(accepts), handlers: handlers.clone() };
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner).families.push(family);
        NamespaceFamily { handlers }
    }

    /// The existing namespaces.
    pub(crate) fn all(&self) -> Vec<Namespace> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.by_name.values().cloned().collect()
    }

    /// Calls `hook` with each namespace that is created from now on.
    pub(crate) fn on_new(&self, hook: impl Fn(&Namespace) + Send + Sync + 'static) {
        self.on_new.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
    }

    /// The namespace that a client asks for. It is not removed until [`Namespace::entered`].
    pub(crate) fn lookup(&self, name: &ByteString) -> Option<Namespace> {
        {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(namespace) = namespaces.by_name.get(name) {
                namespace.entering();
                return Some(namespace.clone());
            }
            if namespaces.families.is_empty() {
                return None;
            }
        }
        let accepting: Vec<_> = {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            namespaces.families.iter().map(|family| (family.accepts.clone(), family.handlers.clone())).collect()
        };
        let (_, handlers) = accepting.into_iter().find(|(accepts, _)| accepts(name))?;
        let mut is_new = false;
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let namespace = namespaces.by_name.entry(name.clone()).or_insert_with(|| {
            is_new = true;
            self.open(name.clone(), handlers, true)
        });
        namespace.entering();
        let namespace = namespace.clone();
        drop(namespaces);
        if is_new {
            self.opened(&namespace);
        }
        Some(namespace)
    }

    /// Creates a namespace. Call it with the namespaces locked, so that the adapter learns of creations and removals of a name in order.
    fn open(&self, name: ByteString, handlers: Arc<Handlers>, dynamic: bool) -> Namespace {
        let namespace = Namespace::new(name, handlers, self.shared.clone(), self.this.clone(), dynamic);
        self.shared.adapter.opened(&namespace);
        namespace
    }

    /// Notifies the application of a new namespace, without a lock.
    fn opened(&self, namespace: &Namespace) {
        let hooks = self.on_new.read().unwrap_or_else(PoisonError::into_inner).clone();
        for hook in hooks {
            guard("on_new_namespace", || hook(namespace));
        }
    }
}

impl Listing for Registry {
    fn remove_unused(&self, namespace: &Namespace) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let listed = namespaces.by_name.get(namespace.name()).is_some_and(|listed| listed.is(namespace));
        if listed && namespace.is_unused() {
            namespaces.by_name.remove(namespace.name());
            self.shared.adapter.closed(namespace.local());
        }
    }
}
