//! The database's functions, as methods and functions on expressions.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use crate::models::condition::Q;
use crate::models::expression::node::Branches;
use crate::models::expression::{Expression, Node, Number, Output};
use crate::models::field::Plain;
use crate::models::meta::FieldKind;
use crate::models::operand::Operand;

/// A function of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum Function {
    Lower,
    Upper,
    Length,
    Trim,
    LeftTrim,
    RightTrim,
    Substr,
    Replace,
    Left,
    Right,
    Concat,
    StrIndex,
    Abs,
    Round(FieldKind),
    Ceil(FieldKind),
    Floor(FieldKind),
    Power,
    Sqrt,
    Coalesce,
    Greatest,
    Least,
    NullIf,
    Cast(FieldKind),
    Now,
    Random,
    Extract(Part, FieldKind),
    Trunc(Part, FieldKind),
    Date,
    Time,
    /// A moment and a duration.
    Later,
    /// A moment less a duration.
    Earlier,
    /// The duration from one moment to another.
    Apart,
}

/// A part of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum Part {
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    WeekDay,
    IsoWeekDay,
    Hour,
    Minute,
    Second,
}

impl Function {
    /// Whether it is NULL as soon as an argument is.
    pub(in crate::models) fn is_strict(self) -> bool {
        !matches!(self, Self::Coalesce | Self::Concat | Self::NullIf)
    }
}

fn text(text: impl Operand<String>) -> Node {
    operand::<String>(text)
}

fn operand<T: Plain>(value: impl Operand<T>) -> Node {
    value.operand().unwrap_or_else(|| Node::Value(T::null()))
}

impl<T: Plain, Out: Output> Expression<T, Out> {
    fn call<U, V>(
        self,
        function: Function,
        more: impl IntoIterator<Item = Node>,
    ) -> Expression<U, V> {
        let mut arguments = vec![self.into_node()];
        arguments.extend(more);
        Expression::from_node(Node::call(function, arguments))
    }

    /// It, or `other` where it is NULL.
    #[must_use]
    pub fn coalesce<V: Operand<T>>(self, other: V) -> Expression<T, V::Out> {
        self.call(Function::Coalesce, [operand::<T>(other)])
    }

    /// NULL where it is `value`.
    #[must_use]
    pub fn nullif(self, value: impl Operand<T>) -> Expression<T, Option<T>> {
        self.call(Function::NullIf, [operand::<T>(value)])
    }

    /// The greater of the two; NULL if one of them is.
    #[must_use]
    pub fn greatest<V: Operand<T>>(self, other: V) -> Expression<T, Out::With<V::Out, T>> {
        self.call(Function::Greatest, [operand::<T>(other)])
    }

    /// The lesser of the two; NULL if one of them is.
    #[must_use]
    pub fn least<V: Operand<T>>(self, other: V) -> Expression<T, Out::With<V::Out, T>> {
        self.call(Function::Least, [operand::<T>(other)])
    }

    /// As another type, by the database's rules.
    #[must_use]
    pub fn cast<U: Plain>(self) -> Expression<U, Out::Of<U>> {
        self.call(Function::Cast(U::KIND), [])
    }
}

/// Functions of texts. SQLite knows the case of ASCII letters only.
impl<Out: Output> Expression<String, Out> {
    /// In lower case.
    #[must_use]
    pub fn lower(self) -> Self {
        self.call(Function::Lower, [])
    }

    /// In upper case.
    #[must_use]
    pub fn upper(self) -> Self {
        self.call(Function::Upper, [])
    }

    /// How many characters it has.
    #[must_use]
    pub fn length(self) -> Expression<i32, Out::Of<i32>> {
        self.call(Function::Length, [])
    }

    /// Without spaces at either end.
    #[must_use]
    pub fn trim(self) -> Self {
        self.call(Function::Trim, [])
    }

    /// Without spaces at the beginning.
    #[must_use]
    pub fn ltrim(self) -> Self {
        self.call(Function::LeftTrim, [])
    }

    /// Without spaces at the end.
    #[must_use]
    pub fn rtrim(self) -> Self {
        self.call(Function::RightTrim, [])
    }

    /// `length` characters from the one at `position` on, counted from 1.
    #[must_use]
    pub fn substr(self, position: u32, length: u32) -> Self {
        self.call(Function::Substr, [number(position.max(1)), number(length)])
    }

    /// The first `length` characters.
    #[must_use]
    pub fn left(self, length: u32) -> Self {
        self.call(Function::Left, [number(length)])
    }

    /// The last `length` characters.
    #[must_use]
    pub fn right(self, length: u32) -> Self {
        self.call(Function::Right, [number(length)])
    }

    /// With `new` wherever it has `old`.
    #[must_use]
    pub fn replace(self, old: impl Operand<String>, new: impl Operand<String>) -> Self {
        self.call(Function::Replace, [text(old), text(new)])
    }

    /// With `other` behind it; NULL counts as empty.
    #[must_use]
    pub fn concat(self, other: impl Operand<String>) -> Expression<String> {
        let other = text(other);
        match self.into_node() {
            Node::Call(mut call) if call.function == Function::Concat => {
                call.arguments.push(other);
                Expression::from_node(Node::Call(call))
            }
            node => Expression::from_node(Node::call(Function::Concat, vec![node, other])),
        }
    }

    /// Where `part` first is in it, counted from 1; 0 if nowhere.
    #[must_use]
    pub fn str_index(self, part: impl Operand<String>) -> Expression<i32, Out::Of<i32>> {
        self.call(Function::StrIndex, [text(part)])
    }
}

fn number(number: u32) -> Node {
    Node::Value(i32::try_from(number).unwrap_or(i32::MAX).into())
}

/// Functions of numbers.
impl<T: Number, Out: Output> Expression<T, Out> {
    /// Without its sign.
    #[must_use]
    pub fn abs(self) -> Self {
        self.call(Function::Abs, [])
    }

    /// Rounded to `places` after the point, halves away from zero.
    #[must_use]
    pub fn round(self, places: u32) -> Self {
        self.call(Function::Round(T::KIND), [number(places)])
    }

    /// The least whole number that is not less.
    #[must_use]
    pub fn ceil(self) -> Self {
        self.call(Function::Ceil(T::KIND), [])
    }

    /// The greatest whole number that is not greater.
    #[must_use]
    pub fn floor(self) -> Self {
        self.call(Function::Floor(T::KIND), [])
    }

    /// To the power of `exponent`. SQLite has no such function: asking is an error there.
    #[must_use]
    pub fn power(self, exponent: f64) -> Expression<f64, Out::Of<f64>> {
        self.call(Function::Power, [Node::Value(exponent.into())])
    }

    /// The square root. SQLite has no such function: asking is an error there.
    #[must_use]
    pub fn sqrt(self) -> Expression<f64, Out::Of<f64>> {
        self.call(Function::Sqrt, [])
    }
}

macro_rules! parts {
    ($($method:ident $part:ident $words:literal;)+) => {$(
        #[doc = $words]
        #[must_use]
        pub fn $method(self) -> Expression<i32, Out::Of<i32>> {
            self.call(Function::Extract(Part::$part, Self::KIND), [])
        }
    )+};
}

macro_rules! truncations {
    ($($method:ident $part:ident $words:literal;)+) => {$(
        #[doc = $words]
        #[must_use]
        pub fn $method(self) -> Self {
            self.call(Function::Trunc(Part::$part, Self::KIND), [])
        }
    )+};
}

macro_rules! of_days {
    () => {
        parts! {
            year Year "The year. Comparing it with a number compares the moments, so an \
index on them helps.";
            iso_year IsoYear "The year that its ISO 8601 week belongs to.";
            quarter Quarter "The quarter of the year, from 1.";
            month Month "The month, from 1.";
            week Week "The ISO 8601 week, from 1.";
            day Day "The day of the month, from 1.";
            week_day WeekDay "The day of the week: 1 for Sunday to 7 for Saturday.";
            iso_week_day IsoWeekDay "The day of the week: 1 for Monday to 7 for Sunday.";
        }

        truncations! {
            trunc_year Year "The beginning of its year.";
            trunc_quarter Quarter "The beginning of its quarter.";
            trunc_month Month "The beginning of its month.";
            trunc_week Week "The Monday of its week.";
        }
    };
}

macro_rules! of_clocks {
    () => {
        parts! {
            hour Hour "The hour, from 0.";
            minute Minute "The minute, from 0.";
            second Second "The second, from 0, without its fraction.";
        }

        truncations! {
            trunc_hour Hour "The beginning of its hour.";
            trunc_minute Minute "The beginning of its minute.";
            trunc_second Second "Without the second's fraction.";
        }
    };
}

/// Parts of moments, on the clocks and calendar of the setting `time_zone`.
impl<Out: Output> Expression<DateTime<Utc>, Out> {
    const KIND: FieldKind = FieldKind::DateTime;

    of_days!();
    of_clocks!();

    truncations! {
        trunc_day Day "The beginning of its day.";
    }

    /// The day.
    #[must_use]
    pub fn date(self) -> Expression<NaiveDate, Out::Of<NaiveDate>> {
        self.call(Function::Date, [])
    }

    /// The time of the day.
    #[must_use]
    pub fn time(self) -> Expression<NaiveTime, Out::Of<NaiveTime>> {
        self.call(Function::Time, [])
    }
}

/// Parts of days.
impl<Out: Output> Expression<NaiveDate, Out> {
    const KIND: FieldKind = FieldKind::Date;

    of_days!();
}

/// Parts of times of the day.
impl<Out: Output> Expression<NaiveTime, Out> {
    const KIND: FieldKind = FieldKind::Time;

    of_clocks!();
}

/// A value as an expression.
#[must_use]
pub fn value<T: Plain>(value: T) -> Expression<T> {
    Expression::from_node(operand::<T>(value))
}

/// The moment the statement (on PostgreSQL the transaction) runs.
#[must_use]
pub fn now() -> Expression<DateTime<Utc>> {
    Expression::from_node(Node::call(Function::Now, Vec::new()))
}

/// Another number for each row: `order_by(|_| random().asc())` is a random order.
#[must_use]
pub fn random() -> Expression<f64> {
    Expression::from_node(Node::call(Function::Random, Vec::new()))
}

/// A condition as a yes or no: a condition that NULL leaves undecided is a no.
#[must_use]
pub fn condition(condition: Q) -> Expression<bool> {
    Expression::from_node(Node::Condition(Box::new(condition)))
}

/// The first value whose condition holds:
/// `case::<i64>().when(p.live().eq(true), 1).otherwise(0)`.
pub fn case<T: Plain>() -> Case<T> {
    Case { whens: Vec::new(), of: std::marker::PhantomData }
}

/// What [`case`] begins.
#[derive(Debug)]
#[must_use = "end it with `otherwise`"]
pub struct Case<T, Out = T> {
    whens: Vec<(Q, Node)>,
    of: std::marker::PhantomData<fn() -> (T, Out)>,
}

impl<T: Plain, Out: Output> Case<T, Out> {
    /// `value` where `condition` holds and none before.
    pub fn when<V: Operand<T>>(mut self, condition: Q, value: V) -> Case<T, Out::With<V::Out, T>> {
        self.whens.push((condition, operand::<T>(value)));
        Case { whens: self.whens, of: std::marker::PhantomData }
    }

    /// `value` where no condition holds; `None` for NULL.
    #[must_use]
    pub fn otherwise<V: Operand<T>>(self, value: V) -> Expression<T, Out::With<V::Out, T>> {
        let otherwise = operand::<T>(value);
        if self.whens.is_empty() {
            return Expression::from_node(otherwise);
        }
        let branches = Branches { whens: self.whens, otherwise: Some(otherwise) };
        Expression::from_node(Node::Case(Box::new(branches)))
    }
}
