//! `+ - * / %` on numbers.

use std::ops::{Add, Div, Mul, Rem, Sub};

use rust_decimal::Decimal;

use crate::models::expression::{Expression, Function, Node, Operator, Output};
use crate::models::field::Plain;
use crate::models::meta::FieldKind;
use crate::models::operand::Operand;

/// A number.
#[diagnostic::on_unimplemented(message = "`{Self}` is no number that a query calculates with")]
pub trait Number: Plain {}

macro_rules! numbers {
    ($($type:ty),+) => {$(impl Number for $type {})+};
}

numbers!(i16, i32, i64, u16, u32, u64, f64, Decimal);

fn binary<T: Plain>(left: Node, operator: Operator, right: impl Operand<T>) -> Node {
    let right = right.operand().unwrap_or_else(|| Node::Value(T::null()));
    let is_whole = !matches!(T::KIND, FieldKind::Float | FieldKind::Decimal);
    let operator = match operator {
        Operator::Divide if is_whole => Operator::DivideWhole,
        Operator::Remainder if is_whole => Operator::RemainderWhole,
        other => other,
    };
    let node = Node::Binary(Box::new((left, operator, right)));
    // PostgreSQL has the remainder of decimals only.
    if operator == Operator::Remainder && T::KIND == FieldKind::Float {
        return Node::call(Function::Cast(FieldKind::Float), vec![node]);
    }
    node
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident $operator:ident $words:literal;)+) => {$(
        #[doc = $words]
        impl<T: Number, Out: Output, V: Operand<T>> $trait<V> for Expression<T, Out> {
            type Output = Expression<T, Out::With<V::Out, T>>;

            fn $method(self, other: V) -> Self::Output {
                let node = binary::<T>(self.into_node(), Operator::$operator, other);
                Expression::from_node(node)
            }
        }
    )+};
}

arithmetic! {
    Add add Add "The sum; NULL if one of the two is.";
    Sub sub Subtract "The difference; NULL if one of the two is.";
    Mul mul Multiply "The product; NULL if one of the two is.";
    Div div Divide "The quotient, whole for whole numbers; NULL if one of the two is. Dividing by \
        zero gives NULL on SQLite and an error on PostgreSQL.";
    Rem rem Remainder "The remainder, with the sign of the first; NULL if one of the two is.";
}
