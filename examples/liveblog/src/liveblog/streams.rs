//! What the page of a blog listens to: it knows at which place it was made, and whoever comes back
//! is told what it missed, or the posts as they are now.

use hulse::prelude::*;

use super::{Liveblog, events};

/// The posts of the blog of this slug. Everybody may read.
pub(crate) async fn posts(request: Request, slug: String) -> Result<Stream> {
    let Some(blog) = Liveblog::called(&request, &slug).await? else {
        return Err(not_found("there is no such blog"));
    };
    let site = request.site().clone();
    Ok(Stream::group(blog.group()).snapshot(move || async move {
        let posts = blog.latest(&site).await?;
        posts.iter().map(|post| events::saved(&site, post)).collect()
    }))
}
