//! The derives are told where their traits are.

use locks::{Element, Plain, ShmSafe, process::InlineLock};

#[derive(Plain, Clone, Copy)]
#[shm(crate = locks)]
struct Account {
    balance: i64,
}

#[derive(ShmSafe)]
#[shm(crate = "::locks")]
#[repr(C)]
struct Bank {
    accounts: [InlineLock<Account>; 2],
}

#[derive(Element, Clone, Copy, Debug, PartialEq)]
#[shm(crate = ipc)]
enum Light {
    Red = 7,
    #[allow(dead_code)]
    Green,
}

#[derive(ipc::Element, Clone, Copy)]
#[shm(crate = ipc)]
struct Crossing(pub Light, pub(crate) Option<char>, [bool; 2]);

#[derive(Element, Clone, Copy)]
#[shm(crate = locks)]
struct Nothing;

#[test]
fn derives_work_by_another_name() {
    let bank =
        proc_core::shm::Shared::new(Bank { accounts: [7, 8].map(|balance| InlineLock::new(Account { balance })) });
    assert_eq!(bank.unwrap().accounts[1].with(|account| account.balance), 8);
    let crossing = ipc::Value::new(Crossing(Light::Red, Some('x'), [true, false])).unwrap();
    let Crossing(light, name, flags) = crossing.get();
    assert_eq!((light, name, flags), (Light::Red, Some('x'), [true, false]));
    let _: Nothing = ipc::Value::new(Nothing).unwrap().get();
}
