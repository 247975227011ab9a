//! Locks beside their peers, with the targets: alone, with two threads or processes that do nothing else, and how long
//! it takes to wake somebody. They are the figures of `cargo xtask bench sync`, as a table.
//!
//! `cargo bench -p benches --bench sync [-- --quick]`. The cases take turns, and only ratios of one run mean anything.

use std::{error::Error, ffi::OsString};

use benches::{
    figure::{Plan, Side},
    figures,
    measure::human,
    outcome::Measured,
    report,
    run::Settings,
    runner,
};

/// Everybody's median, with the least and the most.
fn list(figure: &Measured) {
    println!("{}, {}:", figure.name, figure.unit);
    for outcome in &figure.outcomes {
        let [least, median, most] = [0.0, 0.5, 1.0].map(|share| human(outcome.samples.quantile(share)));
        let disturbed = if outcome.is_disturbed { "  (disturbed)" } else { "" };
        println!("    {:8} {:24} {median:>9}  {least:>9} to {most}{disturbed}", outcome.side.name(), outcome.name);
    }
    figure.failures.iter().for_each(|failure| println!("    {failure}"));
    println!();
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_quick = args.iter().any(|arg| arg == "--quick");
    let plans: Vec<Plan> = figures::all().into_iter().filter(|plan| plan.area == "sync").collect();
    // Each figure is measured by a process of its own: by this program, with the figure's name.
    if let Some(measure) = args.iter().position(|arg| arg == "--measure") {
        let sides = vec![Side::Rust, Side::C, Side::Python];
        let settings = if is_quick { Settings::quick(sides) } else { Settings::thorough(sides) };
        let plan = plans.into_iter().find(|plan| args.get(measure + 1) == Some(&plan.name));
        return runner::measure_here(plan.ok_or("no figure is called that")?, &settings);
    }
    let measured: Vec<Measured> = plans
        .iter()
        .map(|plan| {
            eprintln!("{}", plan.name);
            let mut args = vec!["--measure".into(), OsString::from(&plan.name)];
            args.extend(is_quick.then(|| "--quick".into()));
            let figure = runner::measure_elsewhere(plan, &args, &plan.name);
            list(&figure);
            figure
        })
        .collect();
    println!("{}", report::table(&measured));
    Ok(())
}
