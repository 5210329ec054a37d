//! The store on real files, processes and full disks; one binary, because linking SQLite once is enough.

#[cfg(test)]
mod backup;
#[cfg(test)]
mod blobs;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod keyed;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tamper;
