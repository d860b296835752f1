//! `Operand`: what a lookup may be compared with.

use crate::models::expression::{Expression, Node, Output};
use crate::models::field::Plain;

/// What an expression of `T` can be compared with or set to: a value, or another expression of the
/// same type (Django's `F`). `None` stands for NULL.
#[diagnostic::on_unimplemented(
    message = "a `{T}` column cannot be compared with a `{Self}`",
    label = "expected a `{T}`, a reference to one, an `Option` of one or an expression of `{T}`"
)]
pub trait Operand<T> {
    /// `T`, or `Option<T>` where it may be NULL.
    type Out: Output;

    /// The value to bind or the expression; `None` is NULL.
    fn operand(self) -> Option<Node>;
}

impl<T: Plain> Operand<T> for T {
    type Out = T;

    fn operand(self) -> Option<Node> {
        self.value().map(Node::Value)
    }
}

impl<T: Plain> Operand<T> for &T {
    type Out = T;

    fn operand(self) -> Option<Node> {
        self.value().map(Node::Value)
    }
}

impl<T: Plain> Operand<T> for Option<T> {
    type Out = Self;

    fn operand(self) -> Option<Node> {
        self.as_ref().and_then(T::value).map(Node::Value)
    }
}

impl<T: Plain> Operand<T> for &Option<T> {
    type Out = Option<T>;

    fn operand(self) -> Option<Node> {
        self.as_ref().and_then(T::value).map(Node::Value)
    }
}

impl Operand<String> for &str {
    type Out = String;

    fn operand(self) -> Option<Node> {
        Some(Node::Value(self.into()))
    }
}

impl Operand<String> for &&str {
    type Out = String;

    fn operand(self) -> Option<Node> {
        Some(Node::Value((*self).into()))
    }
}

impl<T: Plain, Out: Output> Operand<T> for Expression<T, Out> {
    type Out = Out;

    fn operand(self) -> Option<Node> {
        Some(self.into_node())
    }
}
