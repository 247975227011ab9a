//! Derives in a program that has `sync` by another name, or only what `ipc` has of it.
