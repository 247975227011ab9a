//! Measures the figures and writes the report. `cargo xtask bench` calls it.

use std::{
    error::Error,
    ffi::OsString,
    fs,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use benches::{
    criterion,
    figure::{Plan, Side},
    figures, load, profile,
    report::{self, Machine, Report},
    run::Settings,
    runner, starts,
};

const HELP: &str = "\
usage: cargo xtask bench [AREA|FIGURE]... [--quick] [--list] [--peers rust,python,c] [--save NAME] [--against NAME]
       cargo xtask bench --picture NAME

  AREA is one of proc-core, queue, pipe, sync, pool, memory, tls, instructions; FIGURE is any part of a figure's name.
  The report is target/bench/report.html, with report.json beside it. Without --quick and FIGURE, the benches of
  criterion run first, and their estimates are in the report.
  --save keeps the report as target/bench/NAME.json. --against compares with one that was kept, and fails if one of
  ours takes 2 % more instructions, or descriptors, than there: these are counted, and the same on a busy machine.
  --picture measures nothing: it draws a picture of a report that was kept, docs/bench-light.svg and
  docs/bench-dark.svg.";

#[derive(Clone, Default)]
struct Order {
    wanted: Vec<String>,
    is_quick: bool,
    is_list: bool,
    peers: Option<String>,
    save: Option<String>,
    against: Option<String>,
    picture: Option<String>,
    /// What a process is told that measures one figure.
    measure: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    if starts::has_served() || profile::has_served()? {
        return Ok(());
    }
    let Some(order) = order(std::env::args().skip(1))? else {
        println!("{HELP}");
        return Ok(());
    };
    let sides = sides(order.peers.as_deref().unwrap_or("rust,python,c"))?;
    let settings = if order.is_quick { Settings::quick(sides) } else { Settings::thorough(sides) };
    if let Some(name) = &order.measure {
        let plan = figures::all().into_iter().find(|plan| plan.name == *name);
        return runner::measure_here(plan.ok_or("no figure is called that")?, &settings);
    }
    if let Some(name) = &order.picture {
        return draw(name);
    }
    let plans: Vec<Plan> = figures::all().into_iter().filter(|plan| is_wanted(plan, &order)).collect();
    if order.is_list || plans.is_empty() {
        figures::all().iter().for_each(|plan| println!("{:12} {}", plan.area, plan.name));
        return if order.is_list { Ok(()) } else { Err(format!("no figure is called {:?}", order.wanted).into()) };
    }
    run(&order, &plans)
}

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("BENCH_FOLDER").unwrap_or_else(|| "target/bench".into()))
}

/// A picture of a report that was kept.
fn draw(name: &str) -> Result<(), Box<dyn Error>> {
    let kept: Report = serde_json::from_str(&fs::read_to_string(folder().join(format!("{name}.json")))?)?;
    let pictures = report::pictures(&kept).ok_or("the report has not all figures of the picture")?;
    for (shade, picture) in ["light", "dark"].into_iter().zip(pictures) {
        fs::write(format!("docs/bench-{shade}.svg"), picture)?;
    }
    Ok(())
}

fn run(order: &Order, plans: &[Plan]) -> Result<(), Box<dyn Error>> {
    let folder = folder();
    let file = |name: &str| folder.join(format!("{name}.json"));
    let before: Option<Report> = match &order.against {
        Some(name) => Some(serde_json::from_str(&fs::read_to_string(file(name))?)?),
        None => None,
    };
    let begun = Instant::now();
    let mut machine = Machine::this();
    let mut report = Report { machine: machine.lines().to_vec(), figures: Vec::new() };
    for (idx, plan) in plans.iter().enumerate() {
        let seconds = begun.elapsed().as_secs();
        eprintln!("[{}/{}] {} ({seconds} s; load {})", idx + 1, plans.len(), plan.name, load::averages());
        let figure = runner::measure_elsewhere(plan, &args_for(plan, order), &plan.name);
        figure.failures.iter().for_each(|failure| eprintln!("    {failure}"));
        report.figures.push(figure);
        // Whatever comes next, this is not lost.
        report.write(&folder, before.as_ref())?;
    }
    if let Some(since) = std::env::var("BENCH_CRITERION_SINCE").ok().and_then(|seconds| seconds.parse().ok()) {
        let since = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since);
        report.figures.extend(criterion::estimates(&folder.join("../criterion"), since)?);
    }
    machine.finish();
    report.machine = machine.lines().to_vec();
    report.write(&folder, before.as_ref())?;
    if let Some(name) = &order.save {
        fs::copy(file("report"), file(name))?;
    }
    println!("{}", report::table(&report.figures));
    println!("{} figures in {} s: {}", plans.len(), begun.elapsed().as_secs(), folder.join("report.html").display());
    match (&order.against, &before) {
        (Some(name), Some(before)) => {
            let changes = report::changes(before, &report);
            println!("\nours against {name}, later over earlier:\n{}", report::changes_table(&changes));
            let n_worse = changes.iter().filter(|change| change.is_regression).count();
            if n_worse == 0 { Ok(()) } else { Err(format!("{n_worse} count more than in {name}").into()) }
        }
        _ => Ok(()),
    }
}

fn args_for(plan: &Plan, order: &Order) -> Vec<OsString> {
    let mut args = vec!["--measure".into(), (&plan.name).into()];
    if order.is_quick {
        args.push("--quick".into());
    }
    if let Some(peers) = &order.peers {
        args.extend(["--peers".into(), peers.into()]);
    }
    args
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
            "--picture" => order.picture = Some(value()?),
            "--measure" => order.measure = Some(value()?),
            option if option.starts_with('-') => return Err(format!("there is no option {option}\n{HELP}")),
            _ => order.wanted.push(arg),
        }
    }
    Ok(Some(order))
}

fn is_wanted(plan: &Plan, order: &Order) -> bool {
    let is_in_time = !(order.is_quick && plan.is_for_thorough);
    let is_of_area = |word: &String| is_in_time && plan.area == word;
    let is_named = |word: &String| is_of_area(word) || plan.name.contains(word.as_str());
    if order.wanted.is_empty() { is_in_time } else { order.wanted.iter().any(is_named) }
}

fn sides(peers: &str) -> Result<Vec<Side>, String> {
    let all = [Side::Rust, Side::C, Side::Python];
    let side = |name: &str| {
        all.into_iter().find(|side| side.name() == name).ok_or_else(|| format!("there are no peers called {name:?}"))
    };
    peers.split(',').filter(|name| !name.is_empty()).map(side).collect()
}
