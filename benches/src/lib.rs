//! Figures: what things cost here, what they cost elsewhere, and what they must cost at the least.
//!
//! Only ratios within one run mean anything; [`run`] therefore lets ours and the peers take turns, and [`load`] tells
//! how much of the processors went to others meanwhile. Each figure is measured by a process of its own, which says what
//! goes on ([`outcome`]): what it leaks, or hangs in, is lost with it.
#![deny(unsafe_code)]

pub mod crew;
pub mod criterion;
pub mod figure;
pub mod figures;
pub mod limits;
pub mod load;
pub mod measure;
pub mod outcome;
pub mod peers;
pub mod profile;
pub mod python;
pub mod report;
pub mod run;
pub mod runner;
pub mod starts;
pub mod targets;
