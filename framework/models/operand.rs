//! `Operand`: what a lookup may be compared with.

use sea_query::Value;

use crate::models::field::Plain;

/// A value that a column of `T` can be compared with or set to. `None` stands for NULL.
#[diagnostic::on_unimplemented(
    message = "a `{T}` column cannot be compared with a `{Self}`",
    label = "expected a `{T}`, a reference to one, or an `Option` of one"
)]
pub trait Operand<T> {
    /// The value to bind; `None` is NULL.
    fn operand(self) -> Option<Value>;
}

impl<T: Plain> Operand<T> for T {
    fn operand(self) -> Option<Value> {
        self.value()
    }
}

impl<T: Plain> Operand<T> for &T {
    fn operand(self) -> Option<Value> {
        self.value()
    }
}

impl<T: Plain> Operand<T> for Option<T> {
    fn operand(self) -> Option<Value> {
        self.as_ref().and_then(T::value)
    }
}

impl<T: Plain> Operand<T> for &Option<T> {
    fn operand(self) -> Option<Value> {
        self.as_ref().and_then(T::value)
    }
}

impl Operand<String> for &str {
    fn operand(self) -> Option<Value> {
        Some(self.into())
    }
}

impl Operand<String> for &&str {
    fn operand(self) -> Option<Value> {
        Some((*self).into())
    }
}
