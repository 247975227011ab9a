//! Which CPU each worker of a pool is bound to.

use std::{collections::HashMap, io};

use kernel::sys::topology::{self, Cpu};

/// Where a pool's workers run, each bound to one CPU: see [`affinity`](crate::ProcessPoolBuilder::affinity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// As far from one another as can be: in turns over the nodes of memory and the packages, a core for each worker while there
    /// are cores, and only then two on the threads of one core. For tasks that each need much of the cache or of memory.
    Spread,
    /// As near to one another as can be: all threads of a core, then the next core, package by package. For tasks that
    /// share what they read, and where other cores are to be left to others.
    Pack,
}

impl Affinity {
    /// The CPUs that the calling thread may run on, in the order in which workers get them.
    pub(super) fn order(self) -> io::Result<Vec<usize>> {
        Ok(self.sort(topology::allowed()?))
    }

    fn sort(self, mut cpus: Vec<Cpu>) -> Vec<usize> {
        // Threads of one core, cores of one package and packages of one node become neighbours.
        cpus.sort_by_key(|cpu| (cpu.node, cpu.package, cpu.core, cpu.number));
        if self == Self::Spread {
            // Its index among those that have as much in common with it.
            let (mut of_core, mut of_package, mut of_node) = (HashMap::new(), HashMap::new(), HashMap::new());
            let mut keyed: Vec<_> = cpus
                .into_iter()
                .map(|cpu| {
                    let thread = next(of_core.entry((cpu.node, cpu.package, cpu.core)).or_default());
                    let core = next(of_package.entry((thread, cpu.node, cpu.package)).or_default());
                    let package = next(of_node.entry((thread, core, cpu.node)).or_default());
                    ((thread, core, package, cpu.node), cpu)
                })
                .collect();
            keyed.sort_by_key(|(key, _)| *key);
            cpus = keyed.into_iter().map(|(_, cpu)| cpu).collect();
        }
        cpus.into_iter().map(|cpu| cpu.number).collect()
    }
}

fn next(count: &mut usize) -> usize {
    *count += 1;
    *count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes of a package each, with two cores of two threads, numbered as Linux does on such machines: first a thread
    /// of each core, the nodes in turns.
    fn two_sockets() -> Vec<Cpu> {
        let cpu = |number: usize| Cpu {
            number,
            node: number as u32 % 2,
            package: number as u32 % 2,
            core: number as u32 / 2 % 2,
        };
        (0..8).map(cpu).collect()
    }

    #[test]
    fn spread_goes_over_nodes_then_cores_then_threads() {
        assert_eq!(Affinity::Spread.sort(two_sockets()), [0, 1, 2, 3, 4, 5, 6, 7]);
        let by_node = |number: usize| Cpu { number, node: number as u32 / 4, package: 0, core: number as u32 % 4 };
        assert_eq!(Affinity::Spread.sort((0..8).map(by_node).collect()), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn pack_fills_a_core_then_a_package() {
        assert_eq!(Affinity::Pack.sort(two_sockets()), [0, 4, 2, 6, 1, 5, 3, 7]);
    }

    #[test]
    fn each_cpu_is_there_once_if_nothing_is_known() {
        let unknown = |number: usize| Cpu { number, node: 0, package: 0, core: number as u32 };
        for placement in [Affinity::Spread, Affinity::Pack] {
            assert_eq!(placement.sort((2..6).map(unknown).collect()), [2, 3, 4, 5]);
        }
    }
}
