//! `ManyToMany`: rows related over a table between. No column; it holds what is loaded.

use crate::models::model::Model;

/// A field that holds rows without a column of its own.
macro_rules! relation_field {
    ($(#[$doc:meta])+ $name:ident) => {
        $(#[$doc])+
        ///
        /// Two of them are equal whatever is loaded: it is no part of the row.
        pub struct $name<T: Model>(pub(in crate::models) crate::models::slot::Loaded<T>);

        impl<T: Model> $name<T> {
            /// Whether something is loaded, were it that there is no row.
            #[must_use]
            pub fn is_loaded(&self) -> bool {
                self.0.get().is_some()
            }
        }

        impl<T: Model> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T: Model> Default for $name<T> {
            fn default() -> Self {
                Self(Default::default())
            }
        }

        impl<T: Model> PartialEq for $name<T> {
            fn eq(&self, _: &Self) -> bool {
                true
            }
        }

        impl<T: Model> Eq for $name<T> {}

        impl<T: Model> std::hash::Hash for $name<T> {
            fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
        }

        impl<T: Model> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let label = T::meta().label();
                match self.0.get() {
                    Some(rows) => write!(f, "{} of {label}", rows.len()),
                    None => write!(f, "{label} not loaded"),
                }
            }
        }

        impl<T: Model> crate::models::slot::Holds<T> for $name<T> {
            fn held(&self) -> &crate::models::slot::Loaded<T> {
                &self.0
            }
        }

        impl<T: Model> crate::models::slot::Slot for $name<T> {
            fn is_loaded(&self) -> bool {
                self.0.get().is_some()
            }

            fn rows(&mut self) -> Vec<crate::models::slot::RowMut<'_>> {
                self.0.rows()
            }

            fn attach(
                &mut self,
                row: &crate::db::Row,
                index: usize,
            ) -> crate::error::Result<()> {
                self.0.attach(row, index)
            }

            fn loader(&self) -> &'static dyn crate::models::loader::Loader {
                &crate::models::loader::Of::<T>(std::marker::PhantomData)
            }

            fn take(
                &mut self,
                found: &crate::models::loader::Found,
                key: &sea_query::Value,
            ) {
                self.0.put(found.many(key));
            }

            fn join(&mut self, peers: &std::sync::Arc<crate::models::fetch_mode::Peers>) {
                self.0.join(peers);
            }
        }
    };
}

pub(in crate::models) use relation_field;

relation_field! {
    /// Any number of rows of `T`, each of which may belong to any number of rows of this model.
    ///
    /// No column: a model between is made for it (`Post_tags`), or `#[field(through = Membership)]`
    /// names one. `post.tags()` reads and changes them; the field holds those that
    /// `prefetch_related` has loaded, and serialized it is these, or left out.
    ///
    /// ```
    /// # use hulse::prelude::*;
    /// #[derive(Model, Clone)]
    /// struct Person {
    ///     id: Id,
    ///     /// Goes both ways, unless `symmetrical = false`.
    ///     friends: ManyToMany<Self>,
    /// }
    ///
    /// #[derive(Model, Clone)]
    /// struct Club {
    ///     id: Id,
    ///     #[field(through = Membership)]
    ///     members: ManyToMany<Person>,
    /// }
    ///
    /// #[derive(Model, Clone)]
    /// struct Membership {
    ///     id: Id,
    ///     #[field(on_delete = cascade)]
    ///     club: ForeignKey<Club>,
    ///     #[field(on_delete = cascade)]
    ///     person: ForeignKey<Person>,
    ///     #[field(max_length = 20)]
    ///     role: String,
    /// }
    ///
    /// # async fn join(site: &Site, club: &Club, ann: &Person) -> Result<()> {
    /// let chair = Membership { role: "chair".into(), ..Default::default() };
    /// club.members().add_with(site, [ann], chair).await?;
    /// # Ok(())
    /// # }
    /// ```
    ManyToMany
}

impl<T: Model> ManyToMany<T> {
    /// The rows, if they are loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<&[T]> {
        self.0.get()
    }
}

impl<T: Model> serde::Serialize for ManyToMany<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.get().unwrap_or_default().serialize(serializer)
    }
}
