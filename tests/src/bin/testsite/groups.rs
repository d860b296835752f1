//! What a test asks and does about groups, from inside a worker.

use hulse::Result;
use hulse::channels::GroupName;
use hulse::http::{Path, Request};
use hulse::urls::{Urls, path};
use rustix::process::{Signal, getpid, kill_process};

pub(crate) fn urls() -> Urls {
    Urls::new([
        path("members/<slug:group>/", members),
        path("last-words/<slug:group>/<slug:text>/", last_words),
    ])
}

/// How many connections take part, of all workers.
async fn members(request: Request, Path(group): Path<String>) -> Result<String> {
    let channels = request.layer().group_channels(&GroupName::new(&group)?).await?;
    Ok(channels.len().to_string())
}

/// Says something, and dies as soon as that is said.
async fn last_words(
    request: Request,
    Path((group, text)): Path<(String, String)>,
) -> Result<&'static str> {
    request.layer().publish(&GroupName::new(&group)?, text.into()).await?;
    kill_process(getpid(), Signal::KILL)?;
    Ok("alive")
}
