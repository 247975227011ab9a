//! `ipc::Queue::{drain, iter}` and `proc_core::wait_any` on a queue: a killed reader has at most one message with it.

use proc_core::wait_any;

use super::queue::{row, warm_up};
use crate::operation::Row;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        row::<u64>("queue/drain", &["empty", "one", "full", "wrapped"], |queue, ledger, state, mark| {
            warm_up::<u64>(state);
            mark.window(|| {
                let mut drain = queue.drain();
                loop {
                    ledger.taking();
                    let item = drain.next();
                    ledger.has_taken(item);
                    if item.is_none() {
                        break;
                    }
                }
            });
        }),
        row::<u64>("queue/iter", &["one", "full", "wrapped"], |queue, ledger, state, mark| {
            warm_up::<u64>(state);
            mark.window(|| {
                ledger.taking();
                ledger.has_taken(queue.iter().next());
            });
        }),
        row::<u64>("queue/wait_any", &["one", "full"], |queue, _, state, mark| {
            warm_up::<u64>(state);
            mark.window(|| {
                assert_eq!(wait_any(&[queue], None).expect("there is memory"), [0]);
            });
        }),
    ]
}
