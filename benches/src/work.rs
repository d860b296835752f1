//! The pieces of work, each done by all sides.

use std::error::Error;

use hulse::Site;
use hulse::models::{Bulk, ForeignKey};
use hulse::test::TestSite;

use crate::hand::{Hand, Texts};
use crate::model::{Author, Comment, Post, author, comment, post, project};
use crate::table::Table;
use crate::{CONNECTIONS, Done, plain};

/// Rows in each table before anything is measured.
const ROWS: i64 = 5_000;

/// Those who do the work.
pub(crate) struct Sides {
    pool: Hand,
    own: Hand,
    texts: Texts,
    hulse: TestSite,
}

impl Sides {
    /// Makes and fills the databases of these URLs.
    pub(crate) async fn open([pool, own, hulse]: &[String; 3]) -> Done<Self> {
        for url in [pool, own] {
            let site = site(url).await?;
            site.site().database().close().await;
        }
        let pool = Hand::open(pool, true).await?;
        let own = Hand::open(own, false).await?;
        let texts = Texts::new(&pool);
        Ok(Self { pool, own, texts, hulse: site(hulse).await? })
    }

    /// Does what is called by `words`.
    pub(crate) async fn measure(self, database: &str, rounds: usize, words: &str) -> Done {
        Table::head(database);
        self.read(rounds, words).await?;
        self.write(rounds, words).await?;
        println!();
        Ok(())
    }

    async fn read(&self, rounds: usize, words: &str) -> Done {
        let (site, texts) = (self.hulse.site(), &self.texts);
        self.work(
            Piece { name: "get one row", words, rounds, times: 50 },
            async |hand: &Hand, id: i64| used(hand.get(texts, id).await),
            async |id| used(one_post(site, id).await.map_err(plain)),
        )
        .await?;
        self.work(
            Piece { name: "list 1,000 rows", words, rounds, times: 1 },
            async |hand: &Hand, _| used(hand.list(texts).await),
            async |_| used(posts(site).await.map_err(plain)),
        )
        .await?;
        self.work(
            Piece { name: "list, a foreign key", words, rounds, times: 1 },
            async |hand: &Hand, _| used(hand.comments().await),
            async |_| used(comments(site).await.map_err(plain)),
        )
        .await?;
        self.work(
            Piece { name: "list, select_related", words, rounds, times: 1 },
            async |hand: &Hand, _| used(hand.joined().await),
            async |_| used(joined(site).await.map_err(plain)),
        )
        .await?;
        self.work(
            Piece { name: "list, values of 2 columns", words, rounds, times: 1 },
            async |hand: &Hand, _| used(hand.pairs().await),
            async |_| used(pairs(site).await.map_err(plain)),
        )
        .await?;
        self.work(
            Piece { name: "count, filtered", words, rounds, times: 20 },
            async |hand: &Hand, n: i64| used(hand.count(texts, n % 50).await),
            async |n| used(count(site, n % 50).await.map_err(plain)),
        )
        .await
    }

    async fn write(&self, rounds: usize, words: &str) -> Done {
        let (site, texts) = (self.hulse.site(), &self.texts);
        self.work(
            Piece { name: "insert one row", words, rounds, times: 20 },
            async |hand: &Hand, n: i64| used(hand.insert(texts, post(n)).await),
            async |n| used(Post::create(site, post(n)).await.map_err(plain)),
        )
        .await?;
        self.work(
            Piece { name: "update, filtered", words, rounds, times: 20 },
            async |hand: &Hand, id: i64| used(hand.update(texts, id, 4).await),
            async |id| used(update(site, id, 4).await.map_err(plain)),
        )
        .await?;
        let many = || (0..1000).map(post).collect::<Vec<_>>();
        self.work(
            Piece { name: "bulk_create 1,000 rows", words, rounds: rounds.div_ceil(5), times: 1 },
            async |hand: &Hand, _| used(hand.insert_many(texts, &many()).await),
            async |_| {
                let posts = Post::objects();
                used(posts.bulk_create(site, many(), Bulk::default()).await.map_err(plain))
            },
        )
        .await
    }

    /// One piece of work, by hand and the framework's.
    async fn work(
        &self,
        piece: Piece<'_>,
        by_hand: impl AsyncFn(&Hand, i64) -> Done,
        by_hulse: impl AsyncFn(i64) -> Done,
    ) -> Done {
        let Piece { name, words, rounds, times } = piece;
        if !name.contains(words) {
            return Ok(());
        }
        let mut table = Table::new(name, times);
        for round in 0..rounds {
            let numbers = || (0..times).map(|at| number(round, at));
            let by_hand = async |hand| -> Done {
                for number in numbers() {
                    by_hand(hand, number).await?;
                }
                Ok(())
            };
            let by_hulse = async {
                for number in numbers() {
                    by_hulse(number).await?;
                }
                Ok(())
            };
            table.round(by_hand(&self.pool), by_hand(&self.own), by_hulse).await?;
        }
        table.print();
        Ok(())
    }
}

/// What is done, and how often.
struct Piece<'a> {
    name: &'static str,
    /// It is done if its name has them.
    words: &'a str,
    rounds: usize,
    /// In a round.
    times: u32,
}

/// Keeps the compiler from leaving out what nobody looks at.
fn used<T, E: Into<Box<dyn Error>>>(answer: Result<T, E>) -> Done {
    std::hint::black_box(answer.map_err(Into::into)?);
    Ok(())
}

/// Another row each time, the same ones for all sides.
fn number(round: usize, at: u32) -> i64 {
    1 + (i64::try_from(round).unwrap_or_default() * 50 + i64::from(at)) * 7 % ROWS
}

async fn site(url: &str) -> Done<TestSite> {
    let site = TestSite::with(project(), |settings| {
        settings.debug = false;
        settings.database.url = hulse::conf::Secret::new(url);
        settings.database.connections_max = CONNECTIONS;
    })
    .await;
    fill(site.site()).await.map_err(plain)?;
    Ok(site)
}

async fn fill(site: &Site) -> hulse::Result<()> {
    let authors = (1..=50).map(author).collect();
    Author::objects().bulk_create(site, authors, Bulk::default()).await?;
    let posts = (0..ROWS).map(post).collect();
    Post::objects().bulk_create(site, posts, Bulk::default()).await?;
    let comments = (1..=ROWS).map(comment).collect();
    Comment::objects().bulk_create(site, comments, Bulk::default()).await?;
    Ok(())
}

async fn one_post(site: &Site, id: i64) -> hulse::Result<Post> {
    Post::objects().filter(|p| p.id().eq(id)).get(site).await
}

async fn posts(site: &Site) -> hulse::Result<Vec<Post>> {
    Post::objects().order_by(|p| p.id().asc()).limit(1000).all(site).await
}

async fn comments(site: &Site) -> hulse::Result<Vec<Comment>> {
    Comment::objects().order_by(|c| c.id().asc()).limit(1000).all(site).await
}

async fn joined(site: &Site) -> hulse::Result<Vec<Comment>> {
    let comments = Comment::objects().select_related(|c| c.author());
    comments.order_by(|c| c.id().asc()).limit(1000).all(site).await
}

async fn pairs(site: &Site) -> hulse::Result<Vec<(String, i64)>> {
    let posts = Post::objects().order_by(|p| p.id().asc()).limit(1000);
    posts.values(|p| (p.title(), p.author())).all(site).await
}

async fn count(site: &Site, author: i64) -> hulse::Result<u64> {
    Comment::objects().filter(|c| c.author().eq(ForeignKey::to(author))).count(site).await
}

async fn update(site: &Site, id: i64, stars: i32) -> hulse::Result<u64> {
    Post::objects().filter(|p| p.id().eq(id)).update(site, |p| p.stars().set(stars)).await
}
