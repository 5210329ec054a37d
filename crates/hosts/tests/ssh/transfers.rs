//! What is sent of an artifact where a similar one is there.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use lockstep_hosts::Transfer;
use lockstep_runtime::Unpacked;
use sha2::{Digest as _, Sha256};

use crate::fixture::Fixture;

/// An artifact of this machine.
struct Sent {
    digest: Digest,
    path: PathBuf,
    bytes: u64,
}

/// Bytes that compress badly.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let blocks = (0..length.div_ceil(32) as u64)
        .flat_map(|at| Sha256::digest([seed, at].map(u64::to_le_bytes).concat()));
    blocks.take(length).collect()
}

fn artifact(fixture: &Fixture, name: &str, program: &[u8]) -> Sent {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (path, bytes) in [("lockstep-package.json", &b"{}"[..]), ("program", program)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, path, bytes).unwrap();
    }
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    let path = fixture.server.file(name);
    fs::write(&path, &bytes).unwrap();
    Sent { digest: Digest::from_bytes(Sha256::digest(&bytes).into()), path, bytes: bytes.len() as u64 }
}

impl Sent {
    async fn bring(&self, fixture: &Fixture, like: &[Digest]) -> Transfer {
        fixture.port().unpack(self.digest, &self.path, like).await.unwrap();
        let transfer = fixture.driver.as_ref().unwrap().transfer(&self.digest).unwrap();
        assert_eq!((transfer.sent, transfer.whole), (transfer.bytes, self.bytes));
        transfer
    }

    /// Where its program is, which is as it was released.
    async fn program(&self, fixture: &Fixture) -> PathBuf {
        match fixture.port().unpacked(&self.digest).await.unwrap() {
            Unpacked::Good(folder) => folder.join("program"),
            other => panic!("{other:?}"),
        }
    }
}

fn changed(before: &[u8]) -> Vec<u8> {
    let (begin, end) = before.split_at(before.len() / 3);
    [begin, b"inserted", end].concat()
}

async fn expect(path: &Path, content: &[u8]) {
    assert!(fs::read(path).unwrap() == content, "{} is another", path.display());
}

#[tokio::test]
async fn of_an_artifact_that_is_nearly_another_little_is_sent() {
    let mut fixture = Fixture::empty("");
    fixture.bring_program();
    fixture.open().await;
    let program = noise(1, 3_000_000);
    let (first, second) = (artifact(&fixture, "a", &program), artifact(&fixture, "b", &changed(&program)));
    assert_eq!(first.bring(&fixture, &[second.digest]).await.bytes, first.bytes, "nothing is there");
    let sent = second.bring(&fixture, &[Digest::from_bytes([7; 32]), first.digest]).await;
    assert!(sent.bytes < 60_000, "{} of {} bytes were sent", sent.bytes, second.bytes);
    expect(&second.program(&fixture).await, &changed(&program)).await;
    let other = artifact(&fixture, "c", &noise(2, 500_000));
    let sent = other.bring(&fixture, &[first.digest, second.digest]).await;
    assert_eq!(sent.bytes, other.bytes, "it is like none of them");
    assert_eq!(fs::read_dir(fixture.host().join("incoming")).unwrap().count(), 0, "something is left over");
}

#[tokio::test]
async fn a_similar_artifact_that_was_changed_there_changes_no_other() {
    let mut fixture = Fixture::empty("");
    fixture.bring_program();
    fixture.open().await;
    let program = noise(1, 1_000_000);
    let (first, second) = (artifact(&fixture, "a", &program), artifact(&fixture, "b", &changed(&program)));
    first.bring(&fixture, &[]).await;
    let there = first.program(&fixture).await;
    fs::write(&there, noise(3, 1_000_000)).unwrap();
    second.bring(&fixture, &[first.digest]).await;
    expect(&second.program(&fixture).await, &changed(&program)).await;
    fs::remove_file(&there).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &there).unwrap();
    fixture.port().remove_release(&second.digest).await.unwrap();
    second.bring(&fixture, &[first.digest]).await;
    expect(&second.program(&fixture).await, &changed(&program)).await;
}
