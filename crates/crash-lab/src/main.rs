//! Kills processes at every instruction of the operations of this workspace, and judges what the survivors see.

fn main() {}
