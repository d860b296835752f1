//! Against real `pulse` processes.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail like this, in its helpers too"
)]

mod accounts;
mod attacks;
mod away;
mod background;
mod blocking;
mod check;
mod crowd;
mod csp;
mod ctl;
mod cut_wire;
mod deaths;
mod djchat;
mod djchat_page;
mod djchat_reload;
mod fixtures;
mod hostile;
mod inspectdb;
mod kill;
mod live;
mod liveblog;
mod login_storm;
mod manage;
mod markers;
mod migrations;
mod multichat;
mod operate;
mod other_ways;
mod overflow;
mod pulse_attack;
mod pulse_clock;
mod pulse_database;
mod pulse_faults;
mod pulse_h2;
mod pulse_limits;
mod pulse_metrics;
mod pulse_places;
mod pulse_slow;
mod pulse_slow_beside;
mod pulse_start;
mod pulse_stop;
mod pulse_tls;
mod pulse_wire;
mod random_faults;
mod redis;
mod redis_machines;
mod release;
mod reload;
mod revocation;
mod runserver;
mod services;
mod sessions;
mod soak;
mod squash;
mod storm;
mod streams;
mod takeover;
mod takeover_faults;
mod terminal;
mod throttle;
mod upgrade;
