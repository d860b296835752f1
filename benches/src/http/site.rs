//! Our server: a site as anybody would write it.

use axum::extract::State;
use hulse::contrib::auth::{self, User, login};
use hulse::contrib::sessions;
use hulse::http::{Path, Request, Response, get_object_or_404, render};
use hulse::models::{Bulk, Id, Model};
use hulse::template::Context;
use hulse::urls::{Urls, include, path};
use hulse::{Project, Result, Site, context};

use super::servers::{PASSWORD, USER};

/// Rows in the table; a page shows twelve.
pub(crate) const POSTS: i64 = 1_000;
/// Their table, as its migration would make it.
pub(crate) const TABLE: &str = "CREATE TABLE \"blog_post\" (\"id\" integer PRIMARY KEY \
    AUTOINCREMENT NOT NULL, \"title\" varchar(200) NOT NULL, \"slug\" varchar(60) NOT NULL, \
    \"body\" text NOT NULL, \"stars\" integer NOT NULL)";

#[derive(Clone, Debug, Model)]
#[model(app = "blog")]
struct Post {
    id: Id,
    #[field(max_length = 200)]
    title: String,
    #[field(max_length = 60)]
    slug: String,
    #[field(text)]
    body: String,
    stars: i32,
}

pub(crate) fn project() -> Project {
    Project::new("http", env!("CARGO_MANIFEST_DIR"))
        .install(sessions::App)
        .install(auth::App)
        .assets(hulse::assets!())
        .urls(urls())
}

fn urls() -> Urls {
    Urls::new([
        path("", index).name("index"),
        path("plain/", plain),
        path("posts/<int:id>/", post).name("post"),
        path("account/", account).name("account"),
        include("accounts/", auth::urls()),
        path("prepare/", prepare),
        path("worker/", async || std::process::id().to_string()),
    ])
}

async fn plain() -> &'static str {
    "Hello World!\n"
}

async fn post(State(site): State<Site>, Path(id): Path<i64>) -> Result<String> {
    let post = get_object_or_404(Post::objects().filter(|p| p.id().eq(id)), &site).await?;
    Ok(format!("{} ({})\n{}\n", post.title, post.stars, post.body))
}

async fn index(request: Request) -> Result<Response> {
    let newest = Post::objects().order_by(|p| p.id().desc()).limit(12);
    let posts = newest.all(request.site()).await?;
    render(&request, "blog/index.html", context! { posts }).await
}

async fn account(request: Request) -> Result<Response> {
    render(&request, "blog/account.html", Context::new()).await
}

/// Makes the rows, and signs the visitor in.
async fn prepare(request: Request) -> Result<&'static str> {
    let site = request.site();
    site.db().script(TABLE).await?;
    let posts = (1..=POSTS).map(|number| Post {
        id: number.into(),
        title: title(number),
        slug: format!("post-{number}"),
        body: body(),
        stars: 3,
    });
    Post::objects().bulk_create(site, posts.collect(), Bulk::default()).await?;
    let user = User::create_user(site, USER, "ann@example.com", Some(PASSWORD)).await?;
    login(&request, &user).await?;
    Ok("prepared\n")
}

pub(crate) fn title(number: i64) -> String {
    format!("The title of number {number} & more")
}

pub(crate) fn body() -> String {
    "Some words of a body that is neither short nor long. ".repeat(4)
}
