//! What else a site knows of its people: a model beside `User`, one row each. As in the README.

use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::models::Meta;
use hulse::prelude::*;
use hulse::test::TestSite;
use hulse_tests::databases;

use super::user;

#[derive(Model, Debug, Clone)]
#[model(app = "people")]
pub(crate) struct Profile {
    #[field(primary_key, on_delete = cascade)]
    pub(crate) user: OneToOne<User>,
    #[field(max_length = 100)]
    pub(crate) city: String,
}

struct People;

impl App for People {
    fn label(&self) -> &'static str {
        "people"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Profile::meta()]
    }
}

async fn move_to(request: Request, Path(city): Path<String>) -> Result<String> {
    let user = request.user().await?;
    let mut profile = Profile { user: OneToOne::from(&*user), city };
    profile.save(&request).await?;
    Ok(format!("{user} lives in {}", profile.city))
}

async fn neighbours(request: Request, Path(city): Path<String>) -> Result<String> {
    let of = Profile::objects().filter(|p| p.city().eq(&city) & p.user().is_active().eq(true));
    let all = of.select_related(|p| p.user()).all(&request).await?;
    Ok(all.iter().filter_map(|p| p.user.loaded()).map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_profile_belongs_to_one_user_and_goes_with_them() {
    let project = || {
        let urls = Urls::new([
            path("move/<str:city>/", move_to).login_required(),
            path("neighbours/<str:city>/", neighbours),
        ]);
        let project = Project::new("profiles", "/nowhere").install(sessions::App);
        project.install(auth::App).install(People).urls(urls)
    };
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let mut ann = user(&site, "ann").await;
        let client = site.client();
        client.get("/move/Graz/").await.assert_redirects("/accounts/login/?next=/move/Graz/");
        client.force_login(&ann).await;
        assert_eq!(client.get("/move/Wien/").await.text(), "ann lives in Wien");
        assert_eq!(client.get("/move/Graz/").await.text(), "ann lives in Graz");
        assert_eq!(Profile::objects().count(&site).await.unwrap(), 1, "one for each");
        assert_eq!(client.get("/neighbours/Graz/").await.text(), "ann");
        ann.is_active = false;
        ann.save(&site).await.unwrap();
        assert_eq!(client.get("/neighbours/Graz/").await.text(), "");
        ann.delete(&site).await.unwrap();
        assert_eq!(Profile::objects().count(&site).await.unwrap(), 0);
    }
}
