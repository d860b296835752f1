//! A site whose models grow, for tests of the migrations' commands: how far they have grown says
//! the file `stage` in the current folder, which is the project's.

use std::process::ExitCode;

use hulse::db::Value;
use hulse::migrations::{DataMigrations, History};
use hulse::models::{ForeignKey, Id, Meta, Model};
use hulse::{App, Project, Result, Site};

mod first {
    use super::{ForeignKey, Id, Model};

    #[derive(Model, Debug, Clone)]
    #[model(app = "people")]
    pub(crate) struct Author {
        pub id: Id,
        #[field(max_length = 60, unique)]
        pub name: String,
    }

    #[derive(Model, Debug, Clone)]
    #[model(app = "blog", index(author, -title))]
    pub(crate) struct Post {
        pub id: Id,
        #[field(max_length = 200)]
        pub title: String,
        #[field(on_delete = cascade)]
        pub author: ForeignKey<Author>,
    }
}

/// A field that needs no value, and one that has a default.
mod second {
    use super::first::Author;
    use super::{ForeignKey, Id, Model};

    #[derive(Model, Debug, Clone)]
    #[model(app = "blog", index(author, -title))]
    pub(crate) struct Post {
        pub id: Id,
        #[field(max_length = 200)]
        pub title: String,
        #[field(max_length = 60)]
        pub slug: Option<String>,
        #[field(default = true)]
        pub live: bool,
        #[field(on_delete = cascade)]
        pub author: ForeignKey<Author>,
    }
}

/// A field whose value in existing rows nobody can know.
mod third {
    use super::first::Author;
    use super::{ForeignKey, Id, Model};

    #[derive(Model, Debug, Clone)]
    #[model(app = "blog", index(author, -title))]
    pub(crate) struct Post {
        pub id: Id,
        #[field(max_length = 200)]
        pub title: String,
        #[field(text)]
        pub lead: String,
        #[field(max_length = 60)]
        pub slug: Option<String>,
        #[field(default = true)]
        pub live: bool,
        #[field(on_delete = cascade)]
        pub author: ForeignKey<Author>,
    }
}

/// The first, with the title under another name.
mod renamed {
    use super::first::Author;
    use super::{ForeignKey, Id, Model};

    #[derive(Model, Debug, Clone)]
    #[model(app = "blog", index(author, -headline))]
    pub(crate) struct Post {
        pub id: Id,
        #[field(max_length = 200)]
        pub headline: String,
        #[field(on_delete = cascade)]
        pub author: ForeignKey<Author>,
    }
}

/// The second, with a field that has to have a value now.
mod tightened {
    use super::first::Author;
    use super::{ForeignKey, Id, Model};

    #[derive(Model, Debug, Clone)]
    #[model(app = "blog", index(author, -title))]
    pub(crate) struct Post {
        pub id: Id,
        #[field(max_length = 200)]
        pub title: String,
        #[field(max_length = 60)]
        pub slug: String,
        #[field(default = true)]
        pub live: bool,
        #[field(on_delete = cascade)]
        pub author: ForeignKey<Author>,
    }
}

struct People;

impl App for People {
    fn label(&self) -> &'static str {
        "people"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![first::Author::meta()]
    }
}

struct Blog {
    stage: String,
}

/// `Hello World` becomes `hello-world` where there is no slug.
async fn fill_slugs(_: &Site, history: &History) -> Result<()> {
    let posts = history.model("blog", "Post")?.filter("slug", Value::String(None))?;
    let mut batches = posts.batches(100);
    while let Some(rows) = batches.next().await? {
        for mut row in rows {
            let title: String = row.get("title")?;
            row.set("slug", title.to_lowercase().replace(' ', "-"))?;
            row.save().await?;
        }
    }
    Ok(())
}

impl App for Blog {
    fn data_migrations(&self) -> DataMigrations {
        DataMigrations::default().with("fill_slugs", fill_slugs)
    }

    fn label(&self) -> &'static str {
        "blog"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![match self.stage.trim() {
            "third" => third::Post::meta(),
            "renamed" => renamed::Post::meta(),
            "tightened" => tightened::Post::meta(),
            "second" => second::Post::meta(),
            _ => first::Post::meta(),
        }]
    }
}

fn main() -> ExitCode {
    let stage = std::fs::read_to_string("stage").unwrap_or_default();
    let here = std::env::current_dir().expect("there is a current folder");
    let has_users = stage.trim() == "users";
    let mut project = Project::new("growing", here).install(Blog { stage }).install(People);
    if has_users {
        project = project.install(hulse::contrib::sessions::App).install(hulse::contrib::auth::App);
    }
    hulse_manage::run(project)
}
