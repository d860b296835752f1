//! What is written of a row with deferred fields, and who may ask for them meanwhile.

use hulse::models::{Decimal, Deferred, PreSave};

use super::*;

#[tokio::test]
async fn saving_writes_what_was_read_or_set() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 1).await;
        let mut paper = first(site).await;
        paper.pages = 7;
        let said = statements(site, async || paper.save(site).await.unwrap()).await;
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("UPDATE \"archive_paper\" SET \"title\" = "), "{}", said[0]);
        assert!(!said[0].contains("body") && !said[0].contains("table\""), "{}", said[0]);
        paper.body = "new".into();
        paper.table.get(site).await.unwrap();
        let said = statements(site, async || paper.save(site).await.unwrap()).await;
        assert!(said[0].contains("\"body\" = ") && said[0].contains("\"table\" = "), "{}", said[0]);
        assert!(!said[0].contains("scan"), "{}", said[0]);
        let mut again = first(site).await;
        assert_eq!((again.body.get(site).await.unwrap().as_str(), again.pages), ("new", 7));
        assert_eq!(again.table.get(site).await.unwrap(), &Some(json!({ "rows": 1 })));

        again.script = Script::Latin.into();
        again.save_only(site, |p| p.script()).await.unwrap();
        assert_eq!(first(site).await.script.get(site).await.unwrap(), &Script::Latin);
        let error = again.save_only(site, |p| p.scan()).await.unwrap_err();
        assert!(error.to_string().contains("archive.Paper.scan was never read"), "{error}");
        // A copy of it is a new row, which needs all.
        let mut copy = first(site).await;
        copy.id = Id::default();
        let error = copy.save(site).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("`get` it first"), "{error}");
        let copied = Paper::objects().bulk_create(site, vec![copy], Bulk::default()).await;
        assert!(copied.unwrap_err().to_string().contains("was never read"));
        // One that is gone cannot be written anew.
        again.clone().delete(site).await.unwrap();
        let mut gone = again;
        assert!(gone.save(site).await.unwrap_err().is_does_not_exist());
        let error = gone.scan.get(site).await.unwrap_err();
        assert!(error.is_does_not_exist() && error.to_string().ends_with("any more"), "{error}");
    }
}

#[tokio::test]
async fn one_taken_over_unread_is_refused() {
    for archive in archives().await {
        let site = &archive.site;
        for slug in ["one", "two"] {
            let (head, text) = (slug.into(), "text".into());
            Page::create(site, Page { slug: slug.into(), head, text, ..Default::default() })
                .await
                .unwrap();
        }
        let page = async |slug: &str| Page::objects().filter(|p| p.slug().eq(slug)).get(site).await;
        let (one, mut two) = (page("one").await.unwrap(), page("two").await.unwrap());
        assert_ne!(one.head, two.head);
        two.head = one.head.clone();
        assert_eq!(one.head, two.head);
        let refused = two.save(site).await.unwrap_err();
        assert!(refused.to_string().contains("archive.Page.head was taken over"), "{refused}");
        two.head.get(site).await.unwrap();
        two.save(site).await.unwrap();
        assert_eq!(page("two").await.unwrap().head.get(site).await.unwrap(), "one");
        let mut two = page("two").await.unwrap();
        two.text = two.head.clone();
        assert!(two.save(site).await.unwrap_err().is_field(), "another field's");
        let mut two = page("two").await.unwrap();
        two.slug = "three".into();
        assert!(two.save(site).await.unwrap_err().is_field(), "another row's");
        assert_eq!(Page::objects().count(site).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_new_row_has_the_defaults_and_is_written_whole() {
    assert_eq!(Paper::default().price.loaded().unwrap().to_string(), "10.00");
    assert_eq!(Paper::default().script.loaded(), Some(&Script::Greek));
    assert_eq!(Deferred::<String>::default(), Deferred::new(String::new()));
    for archive in archives().await {
        let site = &archive.site;
        let ann = writer(site, "Ann", None).await;
        let made = Paper::create(site, paper(&ann, 1)).await.unwrap();
        let work = async || assert_eq!(made.body.get(site).await.unwrap(), "body 1");
        assert_queries(site, 0, work).await;
        let mut rows = Paper::objects().all(site).await.unwrap();
        rows[0].body = "bulk".into();
        Paper::objects().bulk_update(site, &rows, |p| p.body()).await.unwrap();
        let error = Paper::objects().bulk_update(site, &rows, |p| p.scan()).await.unwrap_err();
        assert!(error.to_string().contains("was never read"), "{error}");
        let one = Paper::objects().filter(|p| p.body().eq("bulk"));
        let change = |paper: &mut Paper| paper.price = Decimal::new(5, 1).into();
        let (_, is_new) = one.update_or_create(site, change, paper(&ann, 2)).await.unwrap();
        let paper = first(site).await;
        assert!(!is_new && paper.scan.get(site).await.unwrap() == &[0, 255]);
        assert_eq!(paper.price.get(site).await.unwrap().to_string(), "0.50");
    }
}

#[tokio::test]
async fn who_hears_of_a_row_may_ask_for_it() {
    let hearing = || {
        project().on::<PreSave<Paper>, _, _>(|site, event| async move {
            let row = event.row();
            if row.pages == 3 {
                assert!(row.body.loaded().is_none());
                let remark = format!("{}!", row.body.get(&site).await?);
                event.change(|row| row.remarks.remark = remark.into());
            }
            Ok(())
        })
    };
    for Migrated { site, .. } in &migrated(hearing).await {
        let mut ann = papers(site, 1).await;
        let mut paper = first(site).await;
        paper.pages = 3;
        paper.save(site).await.unwrap();
        assert_eq!(paper.remarks.remark.loaded().unwrap(), "body 1!");
        assert_eq!(first(site).await.remarks.remark.get(site).await.unwrap(), "body 1!");
        for (text, opened) in [("a", true), ("b", false)] {
            let letter =
                Letter { writer: (&ann).into(), text: text.into(), opened, id: Id::default() };
            Letter::create(site, letter).await.unwrap();
        }
        let key = Letter::objects().filter(|l| l.opened().eq(false)).get(site).await.unwrap();
        let key = key.id.get().unwrap();
        SEEN.lock().unwrap().clear();
        let said = statements(site, async || drop(ann.delete(site).await.unwrap())).await;
        let rows = said.iter().find(|sql| sql.contains("NULL AS \"text\"")).unwrap();
        assert!(!rows.replace("AS \"text\"", "").contains("\"text\""), "{rows}");
        let gone = format!("there is no archive.Letter with the key {key} any more");
        assert_eq!(*SEEN.lock().unwrap(), ["false a", "a", gone.as_str()]);
    }
}

#[tokio::test]
async fn full_clean_reads_what_it_asks() {
    for archive in archives().await {
        let site = &archive.site;
        papers(site, 1).await;
        let mut paper = first(site).await;
        assert_queries(site, 3, async || paper.full_clean(site).await.unwrap()).await;
        assert!(paper.body.loaded().is_none());
        Paper::objects().update(site, |p| p.body().set("no")).await.unwrap();
        let error = paper.full_clean(site).await.unwrap_err();
        assert_eq!(error.fields()[0].field, "body");
        paper.body = "lies".into();
        assert!(paper.full_clean(site).await.unwrap_err().to_string().contains("paper_body"));
        assert!(paper.save(site).await.unwrap_err().is_integrity());
    }
}
