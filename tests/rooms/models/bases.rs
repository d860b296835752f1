//! Abstract models: fields that several models have in common.

use chrono::{DateTime, Utc};
use hulse::models::{AbstractModel, ForeignKey, Id, Model};

use super::fields::shops;

#[derive(AbstractModel, Debug, Clone)]
pub(crate) struct Times {
    #[field(auto_now_add)]
    pub created: DateTime<Utc>,
    #[field(auto_now)]
    pub changed: DateTime<Utc>,
}

#[derive(AbstractModel, Debug, Clone)]
pub(crate) struct Owned {
    #[field(on_delete = cascade)]
    pub owner: ForeignKey<Owner>,
    #[field(max_length = 9, default = "none", secret)]
    pub pin: String,
    #[field(email, blank)]
    pub contact: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop", ordering = ["-created"])]
pub(crate) struct Owner {
    pub id: Id,
    #[field(flatten)]
    pub times: Times,
    #[field(max_length = 20)]
    pub name: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop", index(owner, -created), unique(owner, name))]
pub(crate) struct Thing {
    #[field(flatten)]
    pub owned: Owned,
    pub id: Id,
    #[field(flatten)]
    pub times: Times,
    #[field(max_length = 20)]
    pub name: String,
}

#[test]
fn a_bases_fields_are_the_models_behind_its_own() {
    let names = |fields: &[hulse::models::Field]| -> Vec<_> {
        fields.iter().map(|field| field.name).collect()
    };
    let all = ["id", "name", "owner", "pin", "contact", "created", "changed"];
    assert_eq!(names(&Thing::meta().fields), all);
    assert_eq!(names(&Owner::meta().fields), ["id", "name", "created", "changed"]);
    assert_eq!(Thing::meta().field("owner").unwrap().column, "owner_id");
    let thing = Thing::default();
    assert_eq!((thing.owned.pin.as_str(), Owned::default().pin.as_str()), ("none", "none"));
    let shown = serde_json::to_value(&thing).unwrap();
    let shown: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    assert_eq!(shown, ["changed", "contact", "created", "id", "name", "owner"]);
}

#[tokio::test]
async fn they_are_stored_found_ordered_and_set_like_any_other() {
    for shop in shops(&[Owner::meta(), Thing::meta()]).await {
        let site = &shop.site;
        let ann = Owner { name: "Ann".into(), ..Default::default() };
        let ann = Owner::create(site, ann).await.unwrap();
        let bob = Owner { name: "Bob".into(), ..Default::default() };
        let bob = Owner::create(site, bob).await.unwrap();
        assert!(ann.times.created > DateTime::UNIX_EPOCH);
        let newest = Owner::objects().all(site).await.unwrap();
        assert_eq!(newest[0].name, "Bob");
        let later = Owner::objects().filter(|o| o.created().gt(ann.times.created));
        assert_eq!(later.get(site).await.unwrap().id, bob.id);

        let owned = Owned { owner: (&ann).into(), ..Default::default() };
        let thing = Thing { name: "cup".into(), owned, ..Default::default() };
        let mut thing = Thing::create(site, thing).await.unwrap();
        let (created, changed) = (thing.times.created, thing.times.changed);
        thing.save(site).await.unwrap();
        assert_eq!(thing.times.created, created);
        assert!(thing.times.changed > changed);
        let found = Thing::objects()
            .filter(|t| t.owned().owner().created().eq(ann.times.created))
            .filter(|t| t.owned().pin().eq("none") & t.times().created().eq(created))
            .select_related(|t| t.owned().owner());
        let found = found.get(site).await.unwrap();
        assert_eq!(found.owned.owner.loaded().unwrap().name, "Ann");
        assert_eq!(found.times.changed, thing.times.changed);

        let owned = Owned { contact: "nobody".into(), ..thing.owned.clone() };
        let again = Thing { name: "cup".into(), owned, ..Default::default() };
        let error = again.full_clean(site).await.unwrap_err();
        let told: Vec<_> = error.fields().iter().map(|one| one.field.as_str()).collect();
        assert_eq!(told, ["contact", "__all__"]);
        assert_eq!(Thing::of(&ann).count(site).await.unwrap(), 1);
        let mut ann = ann;
        ann.delete(site).await.unwrap();
        assert_eq!(Thing::objects().count(site).await.unwrap(), 0);
    }
}

mod wrong {
    use super::{Id, Model, Times};

    #[derive(Model, Debug, Clone)]
    #[model(app = "shop", ordering = ["craeted"])]
    pub(super) struct Misspelt {
        pub id: Id,
        #[field(flatten)]
        pub times: Times,
    }

    #[derive(Model, Debug, Clone)]
    #[model(app = "shop")]
    pub(super) struct Twice {
        pub id: Id,
        pub created: i32,
        #[field(flatten)]
        pub times: Times,
    }
}

#[test]
#[should_panic(expected = "shop.Misspelt has no field craeted")]
fn a_name_that_no_base_has_is_told_when_the_description_is_made() {
    let _ = wrong::Misspelt::meta();
}

#[test]
#[should_panic(expected = "shop.Twice has two fields called created")]
fn a_name_of_two_fields_is_told_when_the_description_is_made() {
    let _ = wrong::Twice::meta();
}
