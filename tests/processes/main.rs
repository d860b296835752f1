//! Against real `pulse` processes.
