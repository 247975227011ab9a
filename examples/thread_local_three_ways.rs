//! Three ways for a thread to have data of its own: handing it on, a dictionary by thread, and `Local`.

use std::{cell::RefCell, collections::HashMap, sync::LazyLock};

use proc_core::thread::{Builder, current};
use sync::thread::Lock;
use tls::{Key, Local, Locals};

// 1: as an argument, from function to function.
fn greet_argument(student: &str) {
    println!("1: hello {student} (in {})", current().name());
}

// 2: in a global dictionary, which all threads lock, and which somebody has to clean up.
static STUDENTS: LazyLock<Lock<HashMap<u64, String>>> = LazyLock::new(Lock::default);

fn greet_dictionary() {
    let students = STUDENTS.lock();
    println!("2: hello {} (in {})", students[&current().ident()], current().name());
}

// 3: in a `Local`, which looks global and is each thread's own. A bag of `Locals` does without declaring what is in it.
static STUDENT: Local<RefCell<String>> = Local::new(RefCell::default);
static LOCALS: Locals = Locals::new();
const CLASS: Key<u32> = Key::new("class");

fn greet_local() {
    let class = LOCALS.get(CLASS).expect("set in this thread");
    STUDENT.with_borrow(|student| println!("3: hello {student} of class {class} (in {})", current().name()));
}

fn process(student: &str, class: u32) {
    greet_argument(student);
    STUDENTS.lock().insert(current().ident(), student.to_owned());
    greet_dictionary();
    STUDENT.set(student.to_owned());
    LOCALS.set(CLASS, class);
    greet_local();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let a = Builder::new().name("Thread-A").spawn(|| process("Alice", 4))?;
    let b = Builder::new().name("Thread-B").spawn(|| process("Bob", 5))?;
    a.join()?;
    b.join()?;
    println!("Nobody is left here: {:?}.", STUDENT.take());
    Ok(())
}
