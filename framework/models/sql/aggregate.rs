//! Aggregates: of a grouped query's rows, or of the rows behind one row.
//!
//! Invariants:
//! - Where a query is not grouped an aggregate is a subquery of its own, so that two of them never
//!   multiply each other's rows.

use crate::models::expression::{Aggregate, AggregateFunction};
use crate::models::meta::FieldKind;
use crate::models::sql::Compiler;
use crate::models::sql::condition::{Negation, first_many};
use crate::models::trail::Step;

impl Compiler {
    /// Writes an aggregate.
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) {
        if self.is_grouped {
            self.of_group(aggregate, true);
        } else {
            let inlet = inlet(aggregate);
            self.out.push("(");
            self.correlated(
                inlet,
                |compiler| compiler.of_group(aggregate, false),
                |compiler| {
                    if let Some(filter) = &aggregate.filter {
                        compiler.out.push(" AND ");
                        let demanded = compiler.condition(filter, Negation::default());
                        compiler.demand(demanded);
                    }
                },
            );
            self.out.push(")");
        }
        self.may_be_null |= aggregate.of != AggregateFunction::Count;
    }

    /// Writes it over the rows of the SELECT it stands in.
    pub(super) fn of_group(&mut self, aggregate: &Aggregate, filters: bool) {
        let is_grouped = std::mem::replace(&mut self.is_grouped, false);
        let is_computed = matches!(aggregate.of, AggregateFunction::Sum | AggregateFunction::Avg);
        match aggregate.kind {
            // The databases' sums are wider or of another type.
            kind @ (FieldKind::BigInteger | FieldKind::Float) if is_computed => {
                self.cast(kind, |compiler| compiler.bare(aggregate, filters));
            }
            kind @ FieldKind::Duration if is_computed => self.cast(kind, |compiler| {
                compiler.out.push("ROUND(");
                compiler.bare(aggregate, filters);
                compiler.out.push(")");
            }),
            _ => self.bare(aggregate, filters),
        }
        self.is_grouped = is_grouped;
    }

    fn bare(&mut self, aggregate: &Aggregate, filters: bool) {
        let (may_be_null, over) = (self.may_be_null, self.over.take());
        self.out.push(match aggregate.of {
            AggregateFunction::Count => "COUNT(",
            AggregateFunction::Sum => "SUM(",
            AggregateFunction::Avg => "AVG(",
            AggregateFunction::Min => "MIN(",
            AggregateFunction::Max => "MAX(",
        });
        if aggregate.is_distinct {
            self.out.push("DISTINCT ");
        }
        match aggregate.filter.as_ref().filter(|_| filters) {
            None => self.node(&aggregate.argument),
            Some(filter) => {
                self.out.push("CASE WHEN ");
                self.settled(|compiler| {
                    compiler.condition(filter, Negation::default());
                });
                self.around(" THEN ", &aggregate.argument, " END");
            }
        }
        self.out.push(")");
        if let Some(over) = over {
            self.out.append(over);
        }
        self.may_be_null = may_be_null;
    }
}

/// The steps to the rows an aggregate is made of, if it is of one relation to many.
fn inlet(aggregate: &Aggregate) -> Vec<Step> {
    let mut inlet: Option<Vec<Step>> = None;
    let mut others = false;
    let mut look = |path: &crate::models::trail::FieldPath| {
        if let Some(first) = first_many(path) {
            let steps = &path.steps()[..=first];
            match &inlet {
                None => inlet = Some(steps.to_vec()),
                Some(known) => others |= known.as_slice() != steps,
            }
        }
        false
    };
    aggregate.argument.any_column(&mut look);
    if let Some(filter) = &aggregate.filter {
        filter.any(&mut |node| node.any_column(&mut look));
    }
    inlet.filter(|_| !others).unwrap_or_default()
}
