//! Moments and durations: `p.created() + TimeDelta::days(7)`, `p.ended() - p.started()`.

use std::ops::{Add, Sub};

use chrono::{DateTime, TimeDelta, Utc};

use crate::models::expression::{Expression, Function, Node, Operator, Output};
use crate::models::field::Plain;
use crate::models::operand::Operand;

fn operand<T: Plain>(value: impl Operand<T>) -> Node {
    value.operand().unwrap_or_else(|| Node::Value(T::null()))
}

/// The moment so much later; NULL if one of the two is.
impl<Out: Output, V: Operand<TimeDelta>> Add<V> for Expression<DateTime<Utc>, Out> {
    type Output = Expression<DateTime<Utc>, Out::With<V::Out, DateTime<Utc>>>;

    fn add(self, duration: V) -> Self::Output {
        let arguments = vec![self.into_node(), operand::<TimeDelta>(duration)];
        Expression::from_node(Node::call(Function::Later, arguments))
    }
}

/// What can be taken from a moment: a duration, which leaves an earlier moment, or another moment,
/// which leaves the duration between the two.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be taken from a moment",
    label = "expected a `TimeDelta`, a `DateTime<Utc>` or an expression of one"
)]
pub trait FromMoment {
    /// What is left.
    type Left: Plain;
    /// What may be NULL of it.
    type Out: Output;

    /// The expression of what is left of `moment`.
    #[doc(hidden)]
    fn taken(self, moment: Node) -> Node;
}

macro_rules! from_moment {
    ($($type:ty: $left:ty, $function:ident;)+) => {$(
        impl FromMoment for $type {
            type Left = $left;
            type Out = Self;

            fn taken(self, moment: Node) -> Node {
                Node::call(Function::$function, vec![moment, operand::<$type>(self)])
            }
        }

        impl<Out: Output> FromMoment for Expression<$type, Out> {
            type Left = $left;
            type Out = Out;

            fn taken(self, moment: Node) -> Node {
                Node::call(Function::$function, vec![moment, operand::<$type>(self)])
            }
        }
    )+};
}

from_moment! {
    TimeDelta: DateTime<Utc>, Earlier;
    DateTime<Utc>: TimeDelta, Apart;
}

/// An earlier moment, or the duration since another; NULL if one of the two is.
impl<Out: Output, V: FromMoment> Sub<V> for Expression<DateTime<Utc>, Out> {
    type Output = Expression<V::Left, Out::With<V::Out, V::Left>>;

    fn sub(self, other: V) -> Self::Output {
        Expression::from_node(other.taken(self.into_node()))
    }
}

macro_rules! durations {
    ($($trait:ident $method:ident $operator:ident $words:literal;)+) => {$(
        #[doc = $words]
        impl<Out: Output, V: Operand<TimeDelta>> $trait<V> for Expression<TimeDelta, Out> {
            type Output = Expression<TimeDelta, Out::With<V::Out, TimeDelta>>;

            fn $method(self, other: V) -> Self::Output {
                let both = (self.into_node(), Operator::$operator, operand::<TimeDelta>(other));
                Expression::from_node(Node::Binary(Box::new(both)))
            }
        }
    )+};
}

durations! {
    Add add Add "Both durations together; NULL if one of the two is.";
    Sub sub Subtract "The duration less another; NULL if one of the two is.";
}
