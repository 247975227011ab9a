// The one list of targets: each a function of its name in a module of this crate. `fuzz` makes its table of it, and `xtask`
// its list of what is run.
targets! {
    messages: request, report, handover, wire;
    memory: pipe, queue, joinable, value, array, locks, lane, shm;
    sockets: hello, listener, manager;
}
