//! Bytes that come through a socket and are taken for a message.

use ipc::{Array, Connection, JoinableQueue, Queue, Value};
use proc_core::{fuzzing, handover, shm::SharedMemory};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
};

use crate::input::Input;

pub(crate) fn request(input: Input<'_>) {
    fuzzing::request(input.rest());
}

pub(crate) fn report(input: Input<'_>) {
    fuzzing::report(input.rest());
}

/// Any bytes as any handle, with descriptors of the wrong kind.
pub(crate) fn handover(mut input: Input<'_>) {
    let which = input.byte();
    let mut fds = Vec::new();
    for _ in 0..input.byte() % 4 {
        fds.push(match input.byte() % 3 {
            0 => OwnedFd::from(std::fs::File::open("/dev/null").expect("it is always there")),
            1 => std::net::UdpSocket::bind("127.0.0.1:0").expect("there are ports").into(),
            _ => {
                let memory = SharedMemory::new(1 << (input.byte() % 18)).expect("there is memory");
                let parcel = handover::pack(&memory).expect("memory can be handed over");
                parcel.fds()[0].try_clone_to_owned().expect("descriptors are not short")
            }
        });
    }
    let bytes = input.rest();
    match which % 8 {
        0 => drop(handover::unpack::<Queue<String>>(bytes, fds)),
        1 => drop(handover::unpack::<JoinableQueue<u64>>(bytes, fds)),
        2 => drop(handover::unpack::<Connection<u64>>(bytes, fds)),
        3 => drop(handover::unpack::<Value<u64>>(bytes, fds)),
        4 => drop(handover::unpack::<Array<u64>>(bytes, fds)),
        5 => drop(handover::unpack::<Vec<handover::Fd>>(bytes, fds)),
        6 => drop(handover::unpack::<SharedMemory>(bytes, fds)),
        _ => drop(handover::unpack::<(Vec<Option<String>>, std::collections::HashMap<u32, char>)>(bytes, fds)),
    }
}

/// What a value of each shape of serde's decodes from: it is that value again, or an error.
#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    Unit,
    Number(i128),
    Pair(u8, f64),
    Text { text: String, letter: Option<char> },
    List(Vec<Shape>),
    Map(BTreeMap<String, Shape>),
    Bytes(Vec<u8>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(u64),
    Text(String),
    Either {
        left: Option<u8>,
        #[serde(default)]
        right: Vec<u32>,
    },
    List(Vec<Loose>),
}

pub(crate) fn wire(mut input: Input<'_>) {
    let which = input.byte();
    let bytes = input.rest();
    match which % 4 {
        0 => drop(wire::decode::<Shape>(bytes)),
        1 => drop(wire::decode::<Loose>(bytes)),
        2 => drop(wire::decode::<(Vec<f32>, [u16; 4], Box<str>)>(bytes)),
        _ => drop(wire::decode::<HashMap<Vec<u8>, Result<(), String>>>(bytes)),
    }
}
