//! Rows or 404.

use super::not_found;
use crate::error::{Error, Result};
use crate::models::{Model, QuerySet};
use crate::site::Site;

/// The one row of `queryset`, or a 404. `site` may be the request.
///
/// # Errors
/// 404 if there is none; else as [`QuerySet::get`].
pub async fn get_object_or_404<M: Model>(queryset: QuerySet<M>, site: &Site) -> Result<M> {
    queryset.get(site).await.map_err(missing)
}

/// The rows of `queryset`, or a 404 if there is none.
///
/// # Errors
/// 404 if there is none; else as [`QuerySet::all`].
pub async fn get_list_or_404<M: Model>(queryset: QuerySet<M>, site: &Site) -> Result<Vec<M>> {
    let rows = queryset.all(site).await?;
    if rows.is_empty() {
        return Err(not_found(format!("no {} fits", M::meta().label())));
    }
    Ok(rows)
}

/// What a view looks up by the visitor's URL is the visitor's 404, not the site's 500.
fn missing(error: Error) -> Error {
    if error.is_does_not_exist() { not_found(error.to_string()) } else { error }
}
