//! The same work by hand: axum, sqlx with its pool, tera, sessions of tower-sessions where they are
//! needed. One thread, as a worker has.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, extract::FromRef};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use tera::{Context, Tera};
use tower_sessions::cookie::time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as StoreError, Result as StoreResult};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

use super::servers::{PASSWORD, USER};
use super::site::{POSTS, TABLE, body, title};

/// Connections, as the framework's default.
const CONNECTIONS: u32 = 5;
/// The session's key for the user's id.
const SESSION_USER: &str = "user";
/// What every answer of a site has by default, beside its id.
const SAME_HEADERS: [(&str, &str); 5] = [
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
];

#[derive(Clone, FromRef)]
struct App {
    pool: SqlitePool,
    tera: Arc<Tera>,
}

#[derive(Serialize)]
struct Post {
    id: i64,
    title: String,
    slug: String,
    body: String,
    stars: i32,
}

#[derive(Serialize)]
struct User {
    id: i64,
    username: String,
    email: String,
    password: String,
    is_active: bool,
    is_authenticated: bool,
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// What goes wrong is a 500.
struct Failed(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for Failed {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

type Answer<T> = Result<T, Failed>;

/// The server.
pub(crate) fn serve() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(run()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            println!("ERROR {}", failed.0);
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Answer<()> {
    let options = SqliteConnectOptions::new()
        .filename("db.sqlite3")
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    let mut tera = Tera::new();
    tera.autoescape_on([".html"]);
    tera.add_raw_templates([
        ("blog/index.html", include_str!("../../templates/blog/index.html")),
        ("blog/account.html", include_str!("../../templates/blog/account.html")),
    ])?;
    let expiry = Expiry::OnInactivity(Duration::weeks(2));
    let sessions =
        SessionManagerLayer::new(Rows(pool.clone())).with_secure(false).with_expiry(expiry);
    let with_session = Router::new()
        .route("/account/", get(account))
        .route("/accounts/login/", post(login))
        .route("/prepare/", get(prepare))
        .layer(sessions);
    let with_headers =
        Router::new().route("/answer/", get(plain)).layer(map_response(same_headers));
    let app = Router::new()
        .route("/", get(index))
        .route("/plain/", get(plain))
        .route("/posts/{id}/", get(one))
        .merge(with_session)
        .merge(with_headers)
        .with_state(App { pool, tera: Arc::new(tera) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn plain() -> &'static str {
    "Hello World!\n"
}

/// The headers that the framework's answer has by default, so that the bytes are as many.
async fn same_headers(mut response: Response) -> Response {
    static IDS: AtomicU64 = AtomicU64::new(0);
    let headers = response.headers_mut();
    for (name, value) in SAME_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let id = format!("{:016x}", IDS.fetch_add(1, Ordering::Relaxed));
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert("x-request-id", id);
    }
    response
}

fn read_post(row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<Post> {
    Ok(Post {
        id: row.try_get(0)?,
        title: row.try_get(1)?,
        slug: row.try_get(2)?,
        body: row.try_get(3)?,
        stars: row.try_get(4)?,
    })
}

async fn one(
    State(pool): State<SqlitePool>,
    Path(id): Path<i64>,
) -> Answer<Result<String, StatusCode>> {
    let text = "SELECT id, title, slug, body, stars FROM blog_post WHERE id = ?";
    let row = sqlx::query(text).bind(id).fetch_optional(&pool).await?;
    let Some(row) = row else { return Ok(Err(StatusCode::NOT_FOUND)) };
    let post = read_post(&row)?;
    Ok(Ok(format!("{} ({})\n{}\n", post.title, post.stars, post.body)))
}

async fn index(State(app): State<App>) -> Answer<Html<String>> {
    let text = "SELECT id, title, slug, body, stars FROM blog_post ORDER BY id DESC LIMIT 12";
    let rows = sqlx::query(text).fetch_all(&app.pool).await?;
    let posts = rows.iter().map(read_post).collect::<sqlx::Result<Vec<_>>>()?;
    let mut context = Context::new();
    context.insert("posts", &posts);
    Ok(Html(app.tera.render("blog/index.html", &context)?))
}

async fn user(pool: &SqlitePool, condition: &'static str, value: &str) -> Answer<Option<User>> {
    let row = sqlx::query(condition).bind(value).fetch_optional(pool).await?;
    let Some(row) = row else { return Ok(None) };
    let user = User {
        id: row.try_get(0)?,
        username: row.try_get(1)?,
        email: row.try_get(2)?,
        password: row.try_get(3)?,
        is_active: row.try_get(4)?,
        is_authenticated: true,
    };
    Ok(Some(user).filter(|user| user.is_active))
}

async fn account(State(app): State<App>, session: Session) -> Answer<Html<String>> {
    let by_id = "SELECT id, username, email, password, is_active FROM auth_user WHERE id = ?";
    let found = match session.get::<String>(SESSION_USER).await? {
        Some(id) => user(&app.pool, by_id, &id).await?,
        None => None,
    };
    let mut context = Context::new();
    context.insert("user", &found);
    Ok(Html(app.tera.render("blog/account.html", &context)?))
}

fn argon2() -> Answer<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

async fn login(
    State(pool): State<SqlitePool>,
    session: Session,
    Form(form): Form<Login>,
) -> Answer<Result<Redirect, StatusCode>> {
    let by_name =
        "SELECT id, username, email, password, is_active FROM auth_user WHERE username = ?";
    let Some(user) = user(&pool, by_name, &form.username).await? else {
        return Ok(Err(StatusCode::FORBIDDEN));
    };
    let is_right = tokio::task::spawn_blocking(move || {
        let stored = PasswordHash::new(&user.password).map_err(|error| error.to_string())?;
        Answer::Ok(argon2()?.verify_password(form.password.as_bytes(), &stored).is_ok())
    });
    if !is_right.await?? {
        return Ok(Err(StatusCode::FORBIDDEN));
    }
    session.cycle_id().await?;
    session.insert(SESSION_USER, user.id.to_string()).await?;
    let text = "UPDATE auth_user SET last_login = ? WHERE id = ?";
    sqlx::query(text).bind(chrono::Utc::now()).bind(user.id).execute(&pool).await?;
    Ok(Ok(Redirect::to("/plain/")))
}

/// Makes the rows, and signs the visitor in.
async fn prepare(State(pool): State<SqlitePool>, session: Session) -> Answer<&'static str> {
    sqlx::query(TABLE).execute(&pool).await?;
    sqlx::query(
        "CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, \
        email varchar(254) NOT NULL, password varchar(128) NOT NULL, is_active bool NOT NULL, \
        last_login datetime)",
    )
    .execute(&pool)
    .await?;
    sqlx::query(
        "CREATE TABLE session (id varchar(40) PRIMARY KEY, data text NOT NULL, \
        expires datetime NOT NULL)",
    )
    .execute(&pool)
    .await?;
    let mut transaction = pool.begin().await?;
    for number in 1..=POSTS {
        sqlx::query("INSERT INTO blog_post VALUES (?, ?, ?, ?, 3)")
            .bind(number)
            .bind(title(number))
            .bind(format!("post-{number}"))
            .bind(body())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    let hash = argon2()?.hash_password(PASSWORD.as_bytes()).map_err(|error| error.to_string())?;
    sqlx::query("INSERT INTO auth_user VALUES (1, ?, 'ann@example.com', ?, 1, NULL)")
        .bind(USER)
        .bind(hash.to_string())
        .execute(&pool)
        .await?;
    session.insert(SESSION_USER, "1").await?;
    Ok("prepared\n")
}

/// Sessions as rows.
#[derive(Clone, Debug)]
struct Rows(SqlitePool);

#[async_trait]
impl SessionStore for Rows {
    async fn save(&self, record: &Record) -> StoreResult<()> {
        let data = serde_json::to_string(&record.data).map_err(refused)?;
        let text = "INSERT INTO session VALUES (?, ?, ?) \
            ON CONFLICT (id) DO UPDATE SET data = excluded.data, expires = excluded.expires";
        let query = sqlx::query(text).bind(record.id.to_string()).bind(data);
        let ends = record.expiry_date.unix_timestamp();
        query.bind(ends).execute(&self.0).await.map_err(refused)?;
        Ok(())
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let text = "SELECT data, expires FROM session WHERE id = ? AND expires > ?";
        let query = sqlx::query(text).bind(id.to_string());
        let query = query.bind(OffsetDateTime::now_utc().unix_timestamp());
        let Some(row) = query.fetch_optional(&self.0).await.map_err(refused)? else {
            return Ok(None);
        };
        let data: String = row.try_get(0).map_err(refused)?;
        let ends = OffsetDateTime::from_unix_timestamp(row.try_get(1).map_err(refused)?);
        Ok(Some(Record {
            id: *id,
            data: serde_json::from_str(&data).map_err(refused)?,
            expiry_date: ends.map_err(refused)?,
        }))
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        let query = sqlx::query("DELETE FROM session WHERE id = ?").bind(id.to_string());
        query.execute(&self.0).await.map_err(refused)?;
        Ok(())
    }
}

fn refused(error: impl std::error::Error) -> StoreError {
    StoreError::Backend(error.to_string())
}
