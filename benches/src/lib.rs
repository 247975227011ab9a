//! Figures: what things cost here, what they cost elsewhere, and what they must cost at the least.
//!
//! Only ratios within one run mean anything; [`measure`] therefore lets ours and the peers take turns, and [`load`]
//! tells how much of the processors went to others meanwhile.
#![deny(unsafe_code)]

pub mod load;
pub mod measure;
pub mod starts;
