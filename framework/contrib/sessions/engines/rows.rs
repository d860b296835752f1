//! Sessions as rows: they survive everything, and can be asked for.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tower_sessions::session::Id;

use super::{Engine, Kept, OWNED_MAX, Owned, Written, handle_of};
use crate::contrib::sessions::models::Session;
use crate::error::Result;
use crate::site::Site;

#[derive(Debug)]
pub(super) struct Rows(pub(super) Site);

#[async_trait]
impl Engine for Rows {
    async fn create(&self, id: Id, new: Written) -> Result<Kept> {
        let Written { data, end, owner } = new;
        let row = Session {
            session_key: id.to_string(),
            session_data: data.to_string(),
            expire_date: end,
            owner,
        };
        Session::create(&self.0, row).await?;
        Ok(Kept::new(data, end))
    }

    async fn replace(&self, id: Id, from: &Kept, new: Written) -> Result<Option<Kept>> {
        let Written { data, end, owner } = new;
        let changed = Session::objects()
            .filter(|s| s.session_key().eq(id.to_string()) & s.session_data().eq(&*from.data))
            .update(&self.0, |s| {
                [s.session_data().set(&*data), s.expire_date().set(end), s.owner().set(owner)]
            })
            .await?;
        Ok((changed > 0).then(|| Kept::new(data, end)))
    }

    async fn put_off(&self, id: Id, end: DateTime<Utc>) -> Result<bool> {
        let same = Session::objects().filter(|s| s.session_key().eq(id.to_string()));
        Ok(same.update(&self.0, |s| [s.expire_date().set(end)]).await? > 0)
    }

    async fn load(&self, id: Id) -> Result<Option<Kept>> {
        let row = Session::objects()
            .filter(|s| s.session_key().eq(id.to_string()) & s.expire_date().gt(Utc::now()))
            .first(&self.0)
            .await?;
        Ok(row.map(|row| Kept::new(row.session_data.into(), row.expire_date)))
    }

    async fn delete(&self, id: Id) -> Result<bool> {
        let same = Session::objects().filter(|s| s.session_key().eq(id.to_string()));
        Ok(same.delete(&self.0).await?.total > 0)
    }

    async fn owned(&self, owner: &str) -> Result<Vec<Owned>> {
        let open = Session::objects()
            .filter(|s| s.owner().eq(owner) & s.expire_date().gt(Utc::now()))
            .order_by(|s| s.expire_date().desc())
            .limit(OWNED_MAX as u64);
        let named = open.all(&self.0).await?.into_iter().map(|row| {
            let handle = row.session_key.parse().map(handle_of).unwrap_or_default();
            let kept = Kept::new(row.session_data.into(), row.expire_date);
            Owned { key: row.session_key, handle, kept }
        });
        Ok(named.collect())
    }

    async fn revoke(&self, owned: &Owned) -> Result<bool> {
        let same = Session::objects().filter(|s| s.session_key().eq(&owned.key));
        Ok(same.delete(&self.0).await?.total > 0)
    }

    async fn revoke_all(&self, owner: &str, spared: Option<Id>) -> Result<usize> {
        let all =
            Session::objects().filter(|s| s.owner().eq(owner) & s.expire_date().gt(Utc::now()));
        let all = match spared {
            Some(id) => all.filter(|s| s.session_key().ne(id.to_string())),
            None => all,
        };
        let ended = all.delete(&self.0).await?.total;
        Ok(usize::try_from(ended).unwrap_or(usize::MAX))
    }

    fn renewed(&self) -> Box<dyn Engine> {
        Box::new(Self(self.0.clone()))
    }
}
