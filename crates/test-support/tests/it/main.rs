//! Tests that need a process of their own to look at from outside.

mod watchdog;
