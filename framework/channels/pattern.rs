//! Patterns of names: `*` stands for any characters, `?` for one, the rest for itself.

use super::GroupName;
use crate::conf;

/// Whether `name` fits `pattern`. Takes time in proportion to both lengths at worst multiplied.
#[must_use]
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where the last star stands, and up to where it reached.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((place, reached)) = star else { return false };
                star = Some((place, reached + 1));
                at = place + 1;
                seen = reached + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How many unread messages each channel may hold.
#[derive(Clone, Debug)]
pub(crate) struct Capacities {
    /// The first that fits counts.
    patterns: Vec<(String, usize)>,
    usual: usize,
}

impl Capacities {
    pub(crate) fn new(settings: &conf::Channels) -> Self {
        Self { patterns: settings.capacities.0.clone(), usual: settings.capacity }
    }

    /// The same for every channel.
    pub(crate) fn all(usual: usize) -> Self {
        Self { patterns: Vec::new(), usual }
    }

    pub(crate) fn of(&self, channel: &GroupName) -> usize {
        let fitting = self.patterns.iter().find(|(pattern, _)| fits(pattern, channel.as_str()));
        fitting.map_or(self.usual, |(_, capacity)| *capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        check("tiny*", "tiny", true);
        check("tiny*", "tiny.7", true);
        check("tiny*", "atiny", false);
        check("tiny", "tiny", true);
        check("tiny", "tinys", false);
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("*.mail.*", "a.mail.b", true);
        check("*.mail.*", "a.mails.b", false);
        check("a*b*c", "aXbXbXc", true);
        check("a*b*c", "aXbXbXd", false);
        check("room-?", "room-4", true);
        check("room-?", "room-42", false);
        check("a.c", "abc", false);
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        check(&"*a".repeat(50), &"a".repeat(100), true);
        check(&format!("{}b", "*a".repeat(49)), &"a".repeat(100), false);
    }
}
