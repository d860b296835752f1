//! Sessions as rows: they survive everything, and can be asked for.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tower_sessions::session::Id;

use super::{Engine, Kept};
use crate::contrib::sessions::models::Session;
use crate::error::Result;
use crate::site::Site;

#[derive(Debug)]
pub(super) struct Rows(pub(super) Site);

#[async_trait]
impl Engine for Rows {
    async fn create(&self, id: Id, data: Arc<str>, end: DateTime<Utc>) -> Result<Kept> {
        let (session_key, session_data) = (id.to_string(), data.to_string());
        Session::create(&self.0, Session { session_key, session_data, expire_date: end }).await?;
        Ok(Kept::new(data, end))
    }

    async fn replace(
        &self,
        id: Id,
        from: &Kept,
        data: Arc<str>,
        end: DateTime<Utc>,
    ) -> Result<Option<Kept>> {
        let changed = Session::objects()
            .filter(|s| s.session_key().eq(id.to_string()) & s.session_data().eq(&*from.data))
            .update(&self.0, |s| [s.session_data().set(&*data), s.expire_date().set(end)])
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

    fn renewed(&self) -> Box<dyn Engine> {
        Box::new(Self(self.0.clone()))
    }
}
