//! Some of a model's fields, named by its columns: `|p| (p.title(), p.body())`.

use std::fmt;
use std::marker::PhantomData;

use crate::error::{Error, Kind, Result};
use crate::models::expression::{Expression, Node};
use crate::models::meta::Field;
use crate::models::model::Model;
use crate::models::related::Related;
use crate::models::trail::{Columns, FieldPath, Trail};

/// A column or a foreign key, as what names a field.
pub trait Named {
    /// Its path, if it is a column and nothing computed.
    fn path(self) -> Option<FieldPath>;
}

impl<T, Out> Named for Expression<T, Out> {
    fn path(self) -> Option<FieldPath> {
        match self.into_node() {
            Node::Column(path) => Some(path),
            _ => None,
        }
    }
}

impl<T: Model> Named for Related<T> {
    fn path(self) -> Option<FieldPath> {
        Some(self.into_path())
    }
}

/// One column, or up to twelve in a tuple.
pub trait FieldList {
    /// Their paths.
    fn paths(self) -> Vec<Option<FieldPath>>;
}

impl<N: Named> FieldList for N {
    fn paths(self) -> Vec<Option<FieldPath>> {
        vec![self.path()]
    }
}

macro_rules! lists {
    ($($name:ident)+) => {
        impl<$($name: Named),+> FieldList for ($($name,)+) {
            fn paths(self) -> Vec<Option<FieldPath>> {
                #[expect(non_snake_case, reason = "a variable for each type")]
                let ($($name,)+) = self;
                vec![$($name.path()),+]
            }
        }
    };
}

lists!(A);
lists!(A B);
lists!(A B C);
lists!(A B C D);
lists!(A B C D E);
lists!(A B C D E F);
lists!(A B C D E F G);
lists!(A B C D E F G H);
lists!(A B C D E F G H I);
lists!(A B C D E F G H I J);
lists!(A B C D E F G H I J K);
lists!(A B C D E F G H I J K L);

/// Fields of `M`.
pub struct Fields<M> {
    /// `None` for what is no column.
    paths: Vec<Option<FieldPath>>,
    of: PhantomData<fn() -> M>,
}

impl<M: Model> Fields<M> {
    /// Those that `columns` names.
    #[must_use]
    pub fn new<L: FieldList>(columns: impl FnOnce(&M::Columns) -> L) -> Self {
        let paths = columns(&M::Columns::along(Trail::of(M::meta()))).paths();
        Self { paths, of: PhantomData }
    }

    /// The fields, each once.
    ///
    /// # Errors
    /// One is no column, or another model's.
    pub(crate) fn own(&self) -> Result<Vec<&'static Field>> {
        let mut fields: Vec<&'static Field> = Vec::new();
        for path in &self.paths {
            let Some(path) = path else {
                let words = format!("name fields of {}, nothing computed", M::meta().label());
                return Err(Error::of(Kind::Field, words));
            };
            if !path.steps().is_empty() {
                let why = "is another model's: name this model's own fields";
                return Err(Error::field(M::meta(), path.field, why));
            }
            if !fields.iter().any(|field| field.name == path.field.name) {
                fields.push(path.field);
            }
        }
        Ok(fields)
    }

    /// The fields, none of which is the key.
    ///
    /// # Errors
    /// One is the key, or another model's.
    pub(super) fn written(&self) -> Result<Vec<&'static Field>> {
        let fields = self.own()?;
        match fields.iter().find(|field| field.primary_key) {
            Some(key) => Err(Error::field(M::meta(), key, "is the key: it cannot be written")),
            None => Ok(fields),
        }
    }
}

impl<M> Clone for Fields<M> {
    fn clone(&self) -> Self {
        Self { paths: self.paths.clone(), of: PhantomData }
    }
}

impl<M> fmt::Debug for Fields<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths.iter().flatten().map(|path| path.field.name)).finish()
    }
}
