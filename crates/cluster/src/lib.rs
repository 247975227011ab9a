//! The pool of [`pool`], over several machines.
#![forbid(unsafe_code)]
