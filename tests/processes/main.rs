//! Against real `pulse` processes.

mod djchat;
mod djchat_page;
