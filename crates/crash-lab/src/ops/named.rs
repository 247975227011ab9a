//! `SharedMemory::{create, open}`: a name appears with the whole block behind it or not at all, and a dead creator's can
//! be removed by anybody.

use std::{io::ErrorKind, os::unix::process::parent_id};

use proc_core::shm::{NamedMemory, SharedMemory};

use crate::operation::{Operation, Row, Verdict};

const LEN: usize = 8192;
/// Counter: the victim's call has returned.
const DONE: usize = 0;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    const STATES: &[&str] = &["named"];
    vec![
        Operation::new(
            "shm/create",
            STATES,
            |_, _| (),
            |(), ledger, _, mark| {
                clean();
                mark.window(|| {
                    std::mem::forget(create());
                    ledger.add(DONE);
                });
            },
            |(), ledger, _| {
                if ledger.is_refused() && SharedMemory::open(&name()).is_ok() {
                    return Err("refused, and it is there".into());
                }
                whole_or_nothing(ledger.get(DONE) == 0)
            },
        ),
        Operation::new(
            "shm/open",
            STATES,
            |_, _| (),
            |(), _, _, mark| {
                clean();
                let _left = create().keep();
                mark.window(|| drop(SharedMemory::open(&name()).expect("it is there")));
            },
            |(), _, _| whole_or_nothing(false),
        ),
        Operation::new(
            "shm/unlink",
            STATES,
            |_, _| (),
            |(), ledger, _, mark| {
                clean();
                let block = create();
                mark.window(|| {
                    drop(block);
                    ledger.add(DONE);
                });
            },
            |(), ledger, _| {
                if ledger.get(DONE) > 0 && !ledger.has_faults() && SharedMemory::open(&name()).is_ok() {
                    return Err("its creator has dropped it, and it is there".into());
                }
                whole_or_nothing(true)
            },
        ),
    ]
    .into_iter()
    .map(|operation| operation.opaque().boxed())
    .collect()
}

/// One for each driver: its children ask.
fn name() -> String {
    format!("crash-lab-{}", parent_id())
}

/// A victim that nobody was asked about may have been here.
fn clean() {
    let _ = NamedMemory::unlink(&name());
}

fn create() -> NamedMemory {
    SharedMemory::create(&name(), LEN).expect("a name that nobody has")
}

fn whole_or_nothing(may_be_nothing: bool) -> Verdict {
    match SharedMemory::open(&name()) {
        Ok(block) if block.len() == LEN => NamedMemory::unlink(&name()).map_err(|e| e.to_string())?,
        Ok(block) => return Err(format!("{} bytes of {LEN}", block.len())),
        Err(e) if e.kind() == ErrorKind::NotFound && may_be_nothing => {}
        Err(e) => return Err(e.to_string()),
    }
    drop(create());
    match SharedMemory::open(&name()) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => Err(format!("after all of it: {other:?}")),
    }
}
