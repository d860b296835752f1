//! Names of groups and channels: no layer's business.

use std::collections::HashSet;

use hulse::channels::{GroupName, Layer};
use hulse::conf;

#[test]
fn a_bad_name_is_refused_with_the_rule_and_the_limit() {
    let long = "x".repeat(101);
    for bad in ["", &long, "£", "a b", "!!", "Café", "\u{1F600}", "a\n", "a/b", "a:b"] {
        let error = GroupName::new(bad).unwrap_err();
        assert!(error.is_bad_group_name(), "{bad:?}");
        assert!(error.to_string().contains("1 to 100"), "{error}");
        assert!(error.to_string().contains("ASCII letters, digits"), "{error}");
    }
    for good in ["a", "Room-42_x.y", &"x".repeat(100)] {
        assert_eq!(GroupName::new(good).unwrap().as_str(), good);
    }
}

#[test]
fn any_text_makes_a_name_and_equal_texts_the_same() {
    let name = GroupName::hashed("room", "Café!").unwrap();
    assert_eq!(name, GroupName::hashed("room", "Café!").unwrap());
    assert_ne!(name, GroupName::hashed("room", "Cafe!").unwrap());
    assert_eq!(name.as_str().len(), "room-".len() + 32);
    assert!(GroupName::hashed("ro om", "x").unwrap_err().is_bad_group_name());
}

#[tokio::test]
async fn new_channels_have_names_of_their_own_in_every_worker() {
    let settings = conf::Channels::default();
    let layers = [Layer::memory(&settings), Layer::memory(&settings)];
    let names: HashSet<GroupName> =
        (0..10_000).map(|i| layers[i % 2].new_channel("specific").unwrap()).collect();
    assert_eq!(names.len(), 10_000);
    // Also where the random part is that of another: the same machine, woken twice from one image.
    let rest = |name: &GroupName| {
        let (_, random) = name.as_str().split_at("specific.".len());
        assert_eq!(random.len(), 32, "{name}");
        random[16..].to_owned()
    };
    assert_eq!(names.iter().map(rest).collect::<HashSet<_>>().len(), 10_000);
    let process = format!("{:08x}", std::process::id());
    assert!(names.iter().all(|name| rest(name).starts_with(&process)));
    assert!(names.iter().all(|name| name.as_str().starts_with("specific.")));
    assert!(layers[0].new_channel("no good").unwrap_err().is_bad_group_name());
    assert!(layers[0].new_channel(&"x".repeat(68)).unwrap_err().is_bad_group_name());
}
