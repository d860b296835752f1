//! Blogs and their posts. A post that is saved or deleted tells the readers of its blog.

use hulse::channels::{GroupName, Position};
use hulse::prelude::*;

use super::events;

/// Posts a page shows.
const POSTS_SHOWN_MAX: u64 = 200;

/// A blog.
#[derive(Model, Debug, Clone)]
#[model(app = "liveblog", ordering = ["title"])]
pub(crate) struct Liveblog {
    pub(crate) id: Id,
    #[field(max_length = 255)]
    pub(crate) title: String,
    #[field(slug, unique)]
    pub(crate) slug: String,
    pub(crate) posts: HasMany<Post>,
}

/// Something that has just happened.
#[derive(Model, Debug, Clone)]
#[model(app = "liveblog", ordering = ["-created", "-id"], hooks)]
pub(crate) struct Post {
    pub(crate) id: Id,
    #[field(on_delete = cascade)]
    pub(crate) liveblog: ForeignKey<Liveblog>,
    #[field(text)]
    pub(crate) body: String,
    #[field(auto_now_add)]
    pub(crate) created: DateTime<Utc>,
    #[field(auto_now)]
    pub(crate) updated: DateTime<Utc>,
}

impl Liveblog {
    /// The blog of this slug, if there is one.
    pub(crate) async fn called(site: &Site, slug: &str) -> Result<Option<Self>> {
        Self::objects().filter(|blog| blog.slug().eq(slug)).first(site).await
    }

    /// The group of its readers.
    pub(crate) fn group(&self) -> String {
        group(self.id.get())
    }

    /// The place its group's order is at: what is sent from now on comes after it.
    pub(crate) async fn position(&self, site: &Site) -> Result<Position> {
        let group = GroupName::new(&self.group())?;
        Ok(site.layer().history(&group, None, 0).await?.top)
    }

    /// Its latest posts, the newest first.
    pub(crate) async fn latest(&self, site: &Site) -> Result<Vec<Post>> {
        self.posts().objects().limit(POSTS_SHOWN_MAX).all(site).await
    }
}

impl Hooks for Post {
    /// Whoever saved it, and in whichever process: its readers are told once it is there for all.
    async fn after_commit(&self, site: &Site, change: Change) -> Result<()> {
        let event = match change {
            Change::Created | Change::Updated => events::saved(site, self)?,
            Change::Deleted => events::deleted(self),
        };
        site.group(group(self.liveblog.id())).send(event).await
    }
}

/// The group of the readers of a blog that is saved.
fn group(blog: Option<i64>) -> String {
    format!("liveblog-{}", blog.unwrap_or_default())
}
