//! The commands, one file each. To add one: its `mod`, its line in [`Command`], its line in `run`.

mod changepassword;
mod check;
mod clearsessions;
mod createsuperuser;
mod ctl;
mod dbshell;
mod dumpdata;
mod inspectdb;
mod loaddata;
mod makemigrations;
mod migrate;
mod optimizemigration;
mod pulse;
mod pulse_limits;
mod pulse_operation;
mod routes;
mod runserver;
mod runworker;
mod send_channel;
mod send_group;
mod sendtestemail;
mod showmigrations;
mod sqlmigrate;
mod squashmigrations;

use std::process::ExitCode;

use clap::Subcommand;
use hulse::Result;

use crate::context::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Changepassword(changepassword::Changepassword),
    Check(check::Check),
    Clearsessions(clearsessions::Clearsessions),
    Createsuperuser(createsuperuser::Createsuperuser),
    Ctl(ctl::Ctl),
    Dbshell(dbshell::Dbshell),
    Inspectdb(inspectdb::Inspectdb),
    Dumpdata(dumpdata::Dumpdata),
    Loaddata(loaddata::Loaddata),
    Makemigrations(makemigrations::Makemigrations),
    Migrate(migrate::Migrate),
    Optimizemigration(optimizemigration::Optimizemigration),
    Pulse(Box<pulse::Pulse>),
    Routes(routes::Routes),
    Runserver(runserver::Runserver),
    Runworker(runworker::Runworker),
    SendChannel(send_channel::SendChannel),
    SendGroup(send_group::SendGroup),
    Sendtestemail(sendtestemail::Sendtestemail),
    Showmigrations(showmigrations::Showmigrations),
    Sqlmigrate(sqlmigrate::Sqlmigrate),
    Squashmigrations(squashmigrations::Squashmigrations),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Changepassword(changepassword) => changepassword.run(context),
            Self::Check(check) => check.run(context),
            Self::Clearsessions(clearsessions) => clearsessions.run(context),
            Self::Createsuperuser(createsuperuser) => createsuperuser.run(context),
            Self::Ctl(ctl) => ctl.run(context),
            Self::Dbshell(dbshell) => dbshell.run(context),
            Self::Dumpdata(dumpdata) => dumpdata.run(context),
            Self::Loaddata(loaddata) => loaddata.run(context),
            Self::Makemigrations(makemigrations) => makemigrations.run(context),
            Self::Inspectdb(inspectdb) => inspectdb.run(context),
            Self::Migrate(migrate) => migrate.run(context),
            Self::Optimizemigration(optimizemigration) => optimizemigration.run(context),
            Self::Pulse(pulse) => pulse.run(context),
            Self::Routes(routes) => routes.run(context),
            Self::Runserver(runserver) => runserver.run(context),
            Self::Runworker(runworker) => runworker.run(context),
            Self::SendChannel(send_channel) => send_channel.run(context),
            Self::SendGroup(send_group) => send_group.run(context),
            Self::Sendtestemail(sendtestemail) => sendtestemail.run(context),
            Self::Showmigrations(showmigrations) => showmigrations.run(context),
            Self::Sqlmigrate(sqlmigrate) => sqlmigrate.run(context),
            Self::Squashmigrations(squashmigrations) => squashmigrations.run(context),
        }
    }
}
