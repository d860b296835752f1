//! The pages: all blogs, one blog; and what staff do there.

use hulse::contrib::auth::redirect_to_login;
use hulse::forms::{Form, FormData};
use hulse::http::{IntoResponse, Path, StatusCode, get_object_or_404};
use hulse::prelude::{
    Request, Response, Result, Site, context, json, not_found, permission_denied, redirect, render,
};

use super::events;
use super::models::{Liveblog, Post};

/// All blogs, the one with the latest post first.
pub(crate) async fn index(request: Request) -> Result<Response> {
    let blogs = Liveblog::objects()
        .order_by(|blog| [blog.posts().created().max().desc().nulls_last(), blog.title().asc()])
        .annotate(|blog| (blog.posts().count(), blog.posts().created().max()))
        .all(&request)
        .await?;
    let shown = |(blog, (count, latest)): (Liveblog, (i64, Option<_>))| {
        let Liveblog { title, slug, .. } = blog;
        json!({ "title": title, "slug": slug, "count": count, "latest": latest })
    };
    let blogs: Vec<_> = blogs.into_iter().map(shown).collect();
    render(&request, "liveblog/index.html", context! { blogs }).await
}

/// A blog with its posts.
pub(crate) async fn blog(request: Request, Path(slug): Path<String>) -> Result<Response> {
    let blog = find(&request, &slug).await?;
    page(&request, &blog, &Form::new()).await
}

/// Staff write a post.
pub(crate) async fn write(
    request: Request,
    Path(slug): Path<String>,
    data: FormData,
) -> Result<Response> {
    if let Some(way_in) = refusal(&request).await? {
        return Ok(way_in);
    }
    let blog = find(&request, &slug).await?;
    let mut form = Form::of(data);
    let body = form.required("body");
    if !form.is_valid() {
        let page = page(&request, &blog, &form).await?;
        return Ok((StatusCode::BAD_REQUEST, page).into_response());
    }
    Post::create(&request, Post { liveblog: (&blog).into(), body, ..Post::default() }).await?;
    redirect(&request, request.path())
}

/// Staff change a post, or delete it.
pub(crate) async fn edit(
    request: Request,
    Path((slug, id)): Path<(String, i64)>,
    data: FormData,
) -> Result<Response> {
    if let Some(way_in) = refusal(&request).await? {
        return Ok(way_in);
    }
    let blog = find(&request, &slug).await?;
    let found = blog.posts().filter(|post| post.id().eq(id));
    let mut post = get_object_or_404(found, &request).await?;
    if data.get("delete").is_some() {
        post.delete(&request).await?;
    } else {
        let mut form = Form::of(data);
        post.body = form.required("body");
        if !form.is_valid() {
            return Ok((StatusCode::BAD_REQUEST, "a post has a text\n").into_response());
        }
        post.save(&request).await?;
    }
    redirect(&request, &request.reverse("blog", &[&slug])?)
}

async fn find(site: &Site, slug: &str) -> Result<Liveblog> {
    let blog = Liveblog::called(site, slug).await?;
    blog.ok_or_else(|| not_found("there is no such blog"))
}

/// Why this visitor may not write: nobody yet, who may sign in, or somebody else than staff.
async fn refusal(request: &Request) -> Result<Option<Response>> {
    let user = request.user().await?;
    if user.is_anonymous() {
        return redirect_to_login(request).map(Some);
    }
    if user.is_staff { Ok(None) } else { Err(permission_denied("only staff write here")) }
}

/// The page knows its place in the group's order from before its posts were read: what is saved
/// meanwhile is in both, and nothing is in neither.
async fn page(request: &Request, blog: &Liveblog, form: &Form) -> Result<Response> {
    let at = blog.position(request).await?.to_string();
    let posts = blog.latest(request).await?;
    let posts: Result<Vec<_>> = posts.iter().map(|post| events::saved(request, post)).collect();
    let posts = posts?;
    render(request, "liveblog/blog.html", context! { blog, posts, at, form }).await
}
