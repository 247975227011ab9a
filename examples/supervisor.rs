//! A supervisor in Erlang's manner: what crashes is started again, until it crashes too often.

use std::{thread::park, time::Duration};

use proc_core::supervisor::{ChildSpec, Event, Restart, Strategy, Supervisor, SupervisorError};

fn database() {
    park();
}

fn server(port: u16) {
    panic!("port {port} is taken");
}

fn main() -> Result<(), SupervisorError> {
    let supervisor = Supervisor::builder()
        .strategy(Strategy::OneForOne)
        .intensity(2, Duration::from_secs(3600))
        .child(ChildSpec::new("database", database, ()))
        .child(ChildSpec::new("server", server, (80,)).restart(Restart::Transient))
        .start()?;
    if let Err(e) = supervisor.wait() {
        println!("The supervisor gave up: {e}.");
    }
    for event in supervisor.events().try_iter() {
        match event {
            Event::Started { id, .. } => println!("{id} was started."),
            Event::Exited { id, status: Some(status), .. } => println!("{id} ended with {status}."),
            Event::Stopped { id, .. } => println!("{id} was stopped."),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
