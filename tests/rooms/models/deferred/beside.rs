//! Deferred fields in JSON, fixtures, migrations and rows without a type.

use hulse::fixtures::{Dump, Load, Source, dump, load};
use hulse::migrations::{ProjectState, diff};
use hulse::models::{Instance, JsonValue};

use super::*;

#[tokio::test]
async fn what_is_unread_is_left_out_of_json() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 1).await;
        let paper = first(site).await;
        let keys = |paper: &Paper| -> Vec<String> {
            serde_json::to_value(paper).unwrap().as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&paper), ["copies", "id", "pages", "title", "writer"]);
        assert!(serde_json::to_value(&paper.body).unwrap_err().to_string().contains("never read"));
        paper.body.get(site).await.unwrap();
        paper.remarks.remark.get(site).await.unwrap();
        assert_eq!(keys(&paper), ["body", "copies", "id", "pages", "remark", "title", "writer"]);
        assert_eq!(serde_json::to_value(&paper).unwrap()["body"], "body 1");
    }
}

#[tokio::test]
async fn fixtures_have_the_values() {
    for Migrated { site, .. } in &archives().await {
        papers(site, 2).await;
        let mut out = Vec::new();
        let what = Dump { models: Archive.models(), natural_foreign: true, ..Dump::default() };
        dump(site, &what, &mut out, &mut |_| {}).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains(r#""body": "body 1""#) && text.contains(r#""life": "long""#),
            "{text}"
        );
        Writer::objects().delete(site).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.json");
        std::fs::write(&file, text).unwrap();
        let source = [Source::File(file)];
        load(site, &source, Load::default(), &mut |_| {}).await.unwrap();
        let all = Paper::objects().with_deferred(|p| (p.body(), p.table(), p.scan()));
        let all = all.all(site).await.unwrap();
        assert_eq!(all[1].body.loaded().unwrap(), "body 2");
        assert_eq!(all[1].table.loaded().unwrap(), &Some(json!({ "rows": 2 })));
        assert_eq!(all[1].scan.loaded().unwrap(), &[0, 255]);
    }
}

#[tokio::test]
async fn a_row_without_its_type_has_the_values() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 1).await;
        let key = first(site).await.id.get().into();
        let mut row = Instance::get(Paper::meta(), key, site).await.unwrap();
        assert_eq!(row.value("body").unwrap(), Some("body 1".into()));
        row.set([("body", "changed".into()), ("table", JsonValue::Null.into())]).unwrap();
        row.save(site).await.unwrap();
        let typed: &Paper = row.downcast().unwrap();
        assert_eq!(typed.body.loaded().unwrap(), "changed");
        assert_eq!(first(site).await.body.get(site).await.unwrap(), "changed");
        assert_eq!(first(site).await.script.get(site).await.unwrap(), &Script::Greek);
    }
}

#[test]
fn deferring_a_field_changes_no_table() {
    mod plain {
        use super::*;

        #[derive(Model, Debug, Clone)]
        #[model(app = "archive")]
        pub(super) struct Page {
            #[field(primary_key, max_length = 20)]
            slug: String,
            #[field(max_length = 20, unique)]
            code: Option<String>,
            #[field(text)]
            head: String,
            #[field(text)]
            text: String,
        }
    }
    let (old, new) = (plain::Page::meta(), Page::meta());
    assert_eq!(diff(&ProjectState::of([old]), &ProjectState::of([new]), &[]), []);
    let deferred = |meta: &Meta| meta.fields.iter().filter(|field| field.deferred).count();
    assert_eq!((deferred(old), deferred(new)), (0, 3));
}
