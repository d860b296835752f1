//! What the members of a group want their messages in: each tick's piece is made once for all who
//! want the same.

use bytes::{Bytes, BytesMut};

use super::Table;

use crate::channels::ring::Ring;
use crate::channels::{Envelope, GroupName, Position, deflate_frames};

/// A place among [`Envelopes`].
pub(super) type Wrapping = u32;

/// The envelopes of a group. Places of those nobody has any more are given to others.
#[derive(Debug, Default)]
pub(super) struct Envelopes(Vec<Shared>);

#[derive(Debug)]
struct Shared {
    envelope: Envelope,
    members: usize,
    /// This tick's messages in it, once a member wants them.
    batch: Option<Bytes>,
    /// The same, compressed.
    deflated: Option<Bytes>,
}

impl Table {
    /// From now on the messages of `group` come to `id` in `envelope`.
    pub(crate) fn address(&mut self, id: u64, group: &GroupName, envelope: Envelope) {
        let Some(local) = self.groups.get_mut(group) else { return };
        let Some(member) = local.members.get_mut(&id) else { return };
        let before = member.envelope.replace(local.envelopes.take(envelope));
        local.envelopes.give_back(before);
    }
}

impl Envelopes {
    fn take(&mut self, envelope: Envelope) -> Wrapping {
        let same = self.0.iter().position(|shared| shared.envelope == envelope);
        let free = || self.0.iter().position(|shared| shared.members == 0);
        let place = match same.or_else(free) {
            Some(place) => place,
            None => {
                self.0.reserve_exact(1);
                let first = envelope.clone();
                self.0.push(Shared { envelope: first, members: 0, batch: None, deflated: None });
                self.0.len() - 1
            }
        };
        let shared = &mut self.0[place];
        shared.envelope = envelope;
        shared.members += 1;
        Wrapping::try_from(place).expect("there are fewer members than that")
    }

    pub(super) fn give_back(&mut self, place: Option<Wrapping>) {
        if let Some(shared) = place.and_then(|place| self.0.get_mut(place as usize)) {
            shared.members -= 1;
        }
    }

    pub(super) fn get(&self, place: Wrapping) -> Option<&Envelope> {
        self.0.get(place as usize).map(|shared| &shared.envelope)
    }

    /// The messages behind `from` up to `top` in this envelope, as one piece; `None` if the ring
    /// has not all of them.
    pub(super) fn batch(
        &mut self,
        place: Wrapping,
        ring: &Ring,
        (from, top): (Position, Position),
        is_deflated: bool,
    ) -> Option<Bytes> {
        let shared = self.0.get_mut(place as usize)?;
        if shared.batch.is_none() {
            if from.epoch != top.epoch {
                return None;
            }
            let mut piece = BytesMut::new();
            for offset in from.offset + 1..=top.offset {
                shared.envelope.seal(top.epoch, ring.get(offset)?, &mut piece);
            }
            shared.batch = Some(piece.freeze());
        }
        let batch = shared.batch.as_ref()?;
        if !is_deflated {
            return Some(batch.clone());
        }
        Some(shared.deflated.get_or_insert_with(|| deflate_frames(batch)).clone())
    }

    /// The tick is over.
    pub(super) fn forget_batches(&mut self) {
        for shared in &mut self.0 {
            (shared.batch, shared.deflated) = (None, None);
        }
    }
}
