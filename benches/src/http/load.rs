//! The requests of a case, sent by `wrk` (Debian's package of that name).

use std::process::Command;
use std::time::Duration;

use super::Done;
use super::servers::{Kind, PASSWORD, Server, USER};

/// Connections that always have a request under way.
const CONNECTIONS: usize = 64;
/// The same where a request takes a fiftieth of a second of the only core.
const CONNECTIONS_OF_LOGIN: usize = 8;
/// A CSRF secret; a form may bring it as it is.
const SECRET: &str = "abcdefghijklmnopqrstuvwxyz012345";

/// What is asked, again and again.
pub(crate) struct Load {
    path: &'static str,
    connections: usize,
    /// Headers beside `Host`.
    headers: Vec<String>,
    /// A form to post instead of a GET.
    form: Option<String>,
}

impl Load {
    /// The requests of the case `name` to `server`.
    pub(crate) fn of(name: &str, server: &Server) -> Done<Self> {
        let get = |path| Self { path, connections: CONNECTIONS, headers: Vec::new(), form: None };
        let as_visitor = |path| {
            let headers = vec![format!("Cookie: {}", server.cookie())];
            Self { headers, ..get(path) }
        };
        Ok(match name {
            "plain" => get("/plain/"),
            "answer" if server.kind() == Kind::Axum => get("/answer/"),
            "answer" => get("/plain/"),
            "cookie" => as_visitor("/plain/"),
            "row" => get("/posts/7/"),
            "page" => get("/"),
            "account" => as_visitor("/account/"),
            "login" => {
                let mut form = format!("username={USER}&password={PASSWORD}");
                let mut load = get("/accounts/login/");
                load.headers.push("Content-Type: application/x-www-form-urlencoded".to_owned());
                if server.kind() == Kind::Hulse {
                    form = format!("csrfmiddlewaretoken={SECRET}&{form}");
                    load.headers.push(format!("Cookie: csrftoken={SECRET}"));
                }
                Self { connections: CONNECTIONS_OF_LOGIN, form: Some(form), ..load }
            }
            other => return Err(format!("there is no case {other}").into()),
        })
    }

    /// Sends them for so long; how many were answered, all of them well.
    pub(crate) fn drive(&self, server: &Server, time: Duration) -> Done<u64> {
        let script = server.folder().join("wrk.lua");
        std::fs::write(&script, self.script())?;
        let mut command = server.on_other_core("wrk");
        // It takes whole seconds only, so it is interrupted when the time is over.
        command.args(["-t1", "-c", &self.connections.to_string(), "-d10m", "--timeout", "30s"]);
        command.arg("-s").arg(&script).arg(format!("http://{}{}", server.address(), self.path));
        run_for(command, time)
    }

    /// What `wrk` is to send.
    fn script(&self) -> String {
        let mut script = String::new();
        for header in &self.headers {
            if let Some((name, value)) = header.split_once(": ") {
                script.push_str(&format!("wrk.headers[{name:?}] = {value:?}\n"));
            }
        }
        if let Some(form) = &self.form {
            script.push_str(&format!("wrk.method = \"POST\"\nwrk.body = {form:?}\n"));
        }
        script
    }
}

/// Runs `wrk` and reads from its last words how many answers it got.
fn run_for(mut command: Command, time: Duration) -> Done<u64> {
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| format!("starting wrk (apt-get install wrk): {error}"))?;
    std::thread::sleep(time);
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let id = id.ok_or("wrk has no process id")?;
    rustix::process::kill_process(id, rustix::process::Signal::INT)?;
    let mut said = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        std::io::Read::read_to_string(&mut pipe, &mut said)?;
    }
    child.wait()?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("the server failed: {said}").into());
    }
    let line = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (count, _) = line.ok_or_else(|| format!("reading what wrk says: {said}"))?;
    Ok(count.parse()?)
}
