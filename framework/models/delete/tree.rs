//! Deleting by statements alone: where no row must be called, what hangs on the doomed is found by
//! the database (`DELETE FROM comment WHERE post_id IN (SELECT id FROM post WHERE ..)`), and no
//! key comes here, however many rows there are.

use sea_query::{Expr, ExprTrait, Query};

use super::collect::keys_of;
use super::refusal::{LISTED_MAX, Refusal, Why};
use super::{Deleted, delete_where, replacement, repoint};
use crate::error::Result;
use crate::models::live::{Act, is_observed};
use crate::models::meta::{Field, Meta, OnDelete};
use crate::models::registry::Registry;
use crate::site::Site;

/// The statements of one delete, deepest first.
pub(super) struct Tree {
    /// Whose rows are deleted.
    root: &'static Meta,
    /// Foreign keys that must not point to a doomed row.
    checks: Vec<Step>,
    /// Foreign keys that are to point elsewhere.
    changes: Vec<Step>,
    deletes: Vec<(&'static Meta, Expr)>,
}

/// The rows of `meta` whose `field` points to a doomed row.
struct Step {
    meta: &'static Meta,
    field: &'static Field,
    condition: Expr,
}

/// The statements that delete the rows of `condition`; `None` if a row must be called, or if the
/// models point at each other in a way that statements cannot follow.
pub(super) fn plan(
    registry: &Registry,
    root: &'static Meta,
    condition: Expr,
    site: &Site,
) -> Option<Tree> {
    let tree = Tree { root, checks: Vec::new(), changes: Vec::new(), deletes: Vec::new() };
    let mut planner = Planner { registry, site, above: Vec::new(), tree };
    planner.plan(root, condition).then_some(planner.tree)
}

struct Planner<'a> {
    registry: &'a Registry,
    site: &'a Site,
    /// The models from the root to where we are.
    above: Vec<&'static Meta>,
    tree: Tree,
}

impl Planner<'_> {
    /// Whether it could be planned.
    fn plan(&mut self, meta: &'static Meta, condition: Expr) -> bool {
        if is_observed(meta, self.site, Act::Delete) || self.is_above(meta) {
            return false;
        }
        self.above.push(meta);
        let registry = self.registry;
        for (other, field) in registry.referring(meta) {
            let Some(relation) = field.relation else { continue };
            let mut keys = Query::select();
            keys.from(meta.table).column((meta.table, meta.primary_key().column));
            keys.and_where(condition.clone());
            let condition = Expr::col((other.table, field.column)).in_subquery(keys);
            let step = Step { meta: other, field, condition };
            match relation.on_delete {
                OnDelete::DoNothing => {}
                OnDelete::Protect => self.tree.checks.push(step),
                // Their rows may go too, by another way.
                OnDelete::Restrict => return false,
                // The change might decide which rows a later statement finds.
                _ if self.is_above(other) => return false,
                OnDelete::SetNull | OnDelete::SetDefault | OnDelete::Set(_) => {
                    self.tree.changes.push(step);
                }
                OnDelete::Cascade => {
                    if !self.plan(other, step.condition) {
                        return false;
                    }
                }
            }
        }
        self.above.pop();
        self.tree.deletes.push((meta, condition));
        true
    }

    fn is_above(&self, meta: &'static Meta) -> bool {
        self.above.iter().any(|above| std::ptr::eq(*above, meta))
    }
}

impl Tree {
    pub(super) fn is_one_statement(&self) -> bool {
        self.checks.is_empty() && self.changes.is_empty() && self.deletes.len() == 1
    }

    /// Asks, changes and deletes.
    pub(super) async fn run(self, site: &Site) -> Result<Deleted> {
        let mut refusal = Refusal::new(self.root);
        self.ask(&mut refusal, site).await?;
        refusal.into_result()?;
        let mut deleted = Deleted::default();
        self.finish(&mut deleted, site).await?;
        Ok(deleted)
    }

    /// Looks for rows that protect a doomed one.
    pub(super) async fn ask(&self, refusal: &mut Refusal, site: &Site) -> Result<()> {
        for Step { meta, field, condition } in &self.checks {
            let most = Some(LISTED_MAX as u64);
            for key in keys_of(meta, condition.clone(), most, site).await? {
                refusal.add(Why::Protected, meta, field, key);
            }
        }
        Ok(())
    }

    /// Changes and deletes.
    pub(super) async fn finish(self, deleted: &mut Deleted, site: &Site) -> Result<()> {
        for Step { meta, field, condition } in self.changes {
            let is_fixed = matches!(
                field.relation.map(|relation| relation.on_delete),
                Some(OnDelete::SetNull | OnDelete::SetDefault)
            );
            // The row to point to is asked for, or made, only if somebody needs it.
            if is_fixed || !keys_of(meta, condition.clone(), Some(1), site).await?.is_empty() {
                let to = replacement(meta, field, site).await?;
                repoint(meta, field, condition, &to, site).await?;
            }
        }
        for (meta, condition) in self.deletes {
            let rows = delete_where(meta, condition, site).await?;
            deleted.add(meta, rows);
        }
        Ok(())
    }
}
