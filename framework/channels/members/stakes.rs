//! What a connection has in its groups, for a process that goes on with it.

use super::{GroupName, Table};
use crate::channels::Stake;
use crate::channels::protocol::{Ask, Person};

impl Table {
    /// What `id` has in its groups; `None` while a part has no place yet.
    pub(crate) fn stakes(&self, id: u64) -> Option<Vec<Stake>> {
        let connection = self.connections.get(&id)?;
        let stake = |group: &GroupName| {
            let member = self.member(id, group)?;
            let parts = (member.is_joined, member.is_listening);
            let person = member.person.as_deref();
            Some(Stake::new(group, (member.cursor?, member.policy), parts, person))
        };
        connection.groups.iter().map(stake).collect()
    }

    /// `id` is counted as `person` from now on, of whom the group has heard already.
    pub(crate) fn count(&mut self, id: u64, group: &GroupName, person: Person) {
        let member = self.groups.get_mut(group).and_then(|local| local.members.get_mut(&id));
        let Some(member) = member else { return };
        member.person = Some(Box::new(person.clone()));
        // Over a new link it is said again with all others.
        self.say(Ask::AnnouncePerson { group: group.clone(), connection: id, person });
    }
}
