//! What the compiler says to whoever misuses the crates of this workspace: a text for each of `cases/`, kept beside it.
