//! What is made of the figures: a table of ratios, `report.json`, and `report.html` with its charts.

mod change;
mod chart;
mod html;
mod machine;
mod picture;
mod verdict;

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::outcome::{Measured, Outcome};

pub use change::{Change, INSTRUCTIONS, changes, changes_table};
pub use machine::Machine;
pub use picture::pictures;
pub use verdict::{Found, Verdict, table, verdicts};

/// All that has been found, and where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Where, when and with what.
    pub machine: Vec<(String, String)>,
    /// What came out.
    pub figures: Vec<Measured>,
}

impl Report {
    /// Writes `report.json` and `report.html` into `folder`; the latter with what has changed since `before`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, folder: &Path, before: Option<&Self>) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // The verdicts are for those who read it with other tools.
        let targets: Vec<Verdict> = self.figures.iter().flat_map(verdicts).collect();
        let all = json!({ "machine": self.machine, "targets": targets, "figures": self.figures });
        fs::write(folder.join("report.json"), format!("{all:#}\n"))?;
        fs::write(folder.join("report.html"), html::page(self, before))
    }

    /// What came out for a case.
    pub fn outcome(&self, figure: &str, case: &str) -> Option<&Outcome> {
        self.figures.iter().find(|each| each.name == figure)?.outcome(case)
    }
}
