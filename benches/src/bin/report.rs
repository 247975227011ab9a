//! Measures the figures and writes the report. `cargo xtask bench` calls it.

use std::{error::Error, fs, path::PathBuf};

use benches::{
    figure::{Plan, Side},
    figures, load,
    report::{self, Machine},
    run::{self, Measured, Settings},
    starts,
};

const HELP: &str = "\
usage: cargo xtask bench [AREA|FIGURE]... [--quick] [--list] [--peers rust,python,c] [--save NAME] [--against NAME]

  AREA is one of proc-core, queue, pipe, sync, pool, memory, tls; FIGURE is any part of a figure's name.
  The report is target/bench/report.html, with report.json beside it.";

#[derive(Default)]
struct Order {
    wanted: Vec<String>,
    is_quick: bool,
    is_list: bool,
    peers: Option<String>,
    save: Option<String>,
    against: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    if starts::has_served() {
        return Ok(());
    }
    let Some(order) = order(std::env::args().skip(1))? else {
        println!("{HELP}");
        return Ok(());
    };
    let plans: Vec<Plan> = figures::all().into_iter().filter(|plan| is_wanted(plan, &order.wanted)).collect();
    if order.is_list || plans.is_empty() {
        figures::all().iter().for_each(|plan| println!("{:10} {}", plan.area, plan.name));
        return if order.is_list { Ok(()) } else { Err(format!("no figure is called {:?}", order.wanted).into()) };
    }
    let sides = sides(order.peers.as_deref().unwrap_or("rust,python,c"))?;
    let settings = if order.is_quick { Settings::quick(sides) } else { Settings::thorough(sides) };
    let folder = PathBuf::from(std::env::var_os("BENCH_FOLDER").unwrap_or_else(|| "target/bench".into()));
    let before = match &order.against {
        Some(name) => Some(serde_json::from_str(&fs::read_to_string(folder.join(format!("{name}.json")))?)?),
        None => None,
    };
    let mut machine = Machine::this();
    let mut found = Vec::new();
    let n_plans = plans.len();
    for (idx, plan) in plans.into_iter().enumerate() {
        eprintln!("[{}/{n_plans}] {} (load {})", idx + 1, plan.name, load::averages());
        match (plan.make)() {
            Ok(figure) => found.push(Measured { curve: plan.curve, ..run::measure(figure, &settings) }),
            Err(e) => eprintln!("    cannot be measured: {e}"),
        }
        // Whatever comes next, this is not lost.
        report::write(&folder, &machine, &found, before.as_ref())?;
    }
    machine.finish();
    report::write(&folder, &machine, &found, before.as_ref())?;
    if let Some(name) = &order.save {
        fs::write(folder.join(format!("{name}.json")), format!("{:#}\n", report::to_json(&machine, &found)))?;
    }
    println!("{}", report::table(&found));
    if let (Some(name), Some(before)) = (&order.against, &before) {
        print_changes(name, before, &found);
    }
    println!("{}", folder.join("report.html").display());
    Ok(())
}

fn print_changes(name: &str, before: &serde_json::Value, found: &[Measured]) {
    println!("ours against {name}, later over earlier:");
    for figure in found {
        for case in figure.outcomes.iter().filter(|case| case.side == Side::Ours) {
            if let Some(earlier) = report::median_in(before, &figure.name, &case.name) {
                println!("{:34} {:22} {:8.3}x", figure.name, case.name, case.samples.median() / earlier);
            }
        }
    }
    println!();
}

fn order(mut args: impl Iterator<Item = String>) -> Result<Option<Order>, String> {
    let mut order = Order::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--quick" => order.is_quick = true,
            "--list" => order.is_list = true,
            "--peers" => order.peers = Some(value()?),
            "--save" => order.save = Some(value()?),
            "--against" => order.against = Some(value()?),
            option if option.starts_with('-') => return Err(format!("there is no option {option}\n{HELP}")),
            _ => order.wanted.push(arg),
        }
    }
    Ok(Some(order))
}

fn is_wanted(plan: &Plan, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|word| plan.area == word || plan.name.contains(word.as_str()))
}

fn sides(peers: &str) -> Result<Vec<Side>, String> {
    let all = [Side::Rust, Side::C, Side::Python];
    let side = |name: &str| {
        all.into_iter().find(|side| side.name() == name).ok_or_else(|| format!("there are no peers called {name:?}"))
    };
    peers.split(',').filter(|name| !name.is_empty()).map(side).collect()
}
