//! Frames that are changed at random, through a whole gateway: what no rule thought of. Whatever seed is named makes the same cases again.
//!
//! Each connection ends, none takes another along, and what stands in a body is never a request. `LOCKSTEP_FRAMES_RANDOM` says how many are tried
//! (`cargo xtask fuzz gateway`), `LOCKSTEP_FRAMES_SEED` which.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame,
};
use super::support::{Caller, runtime};
use crate::support::*;

/// How many are tried where nothing else is asked for.
const USUAL: u64 = 150;
/// What a body says, and nobody may ever be asked for.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nhost: shop.test\r\n\r\n";
/// `te: trailers`, and a path of `/case`, in fields that are coded without a table.
const POST: &[u8] = b"\x83\x86\x04\x05/case\x01\x09shop.test";
const GET: &[u8] = b"\x82\x86\x04\x05/case\x01\x09shop.test\x00\x03x-a\x01b";

/// Good conversations, frame by frame.
fn conversations() -> Vec<Vec<Vec<u8>>> {
    let settings =
        |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let (first, rest) = GET.split_at(9);
    vec![
        vec![
            settings(4, 1_000),
            frame(HEADERS, END_STREAM | END_HEADERS, 1, GET),
            frame(PING, 0, 0, b"12345678"),
        ],
        vec![
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, POST),
            frame(DATA, 0, 1, SMUGGLED),
            frame(DATA, END_STREAM, 1, SMUGGLED),
        ],
        vec![
            settings(1, 0),
            frame(HEADERS, 0, 1, POST),
            frame(CONTINUATION, END_HEADERS, 1, b"\x0f\x0d\x02\x31\x30"),
            frame(DATA, 0, 1, b"0123456789"),
            frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x00\x03x-a\x01b"),
        ],
        vec![
            settings(3, 1),
            frame(HEADERS, END_STREAM, 1, first),
            frame(CONTINUATION, END_HEADERS, 1, rest),
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
            frame(HEADERS, END_HEADERS, 3, POST),
            frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]),
            frame(HEADERS, END_STREAM | END_HEADERS, 5, GET),
        ],
    ]
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most.max(1) as u64).unwrap()
    }

    /// Changes one to three things: bytes anywhere, a flag or a number of a frame, whole frames.
    fn change(&mut self, mut frames: Vec<Vec<u8>>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(frames.len());
            match self.below(7) {
                // A length, a kind, flags or a stream.
                0 | 1 => {
                    let place = self.below(9.min(frames[at].len()));
                    frames[at][place] = u8::try_from(self.below(256)).unwrap();
                }
                2 => {
                    let place = self.below(frames[at].len());
                    frames[at][place] ^= 1 << self.below(8);
                }
                3 => {
                    let again = frames[at].clone();
                    frames.insert(at, again);
                }
                4 => {
                    let other = self.below(frames.len());
                    frames.swap(at, other);
                }
                5 => {
                    let left = self.below(frames[at].len());
                    frames[at].truncate(left.max(1));
                }
                _ => {
                    let place = self.below(frames[at].len());
                    let count = self.below(9);
                    let more: Vec<u8> = (0..count).map(|_| u8::try_from(self.below(256)).unwrap()).collect();
                    frames[at].splice(place..place, more);
                }
            }
        }
        frames.concat()
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}

/// Sends all of it, and reads until the gateway ends.
fn talk(running: &Running, bytes: &[u8]) -> Result<(), String> {
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A gateway that has ended already takes no more.
    let _ = stream.write_all(&[PREFACE, bytes].concat());
    let _ = stream.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(format!("it does not end after {} bytes", got.len()))
        }
        _ => Ok(()),
    }
}

#[test]
fn a_conversation_that_no_rule_thought_of_ends_and_brings_nothing_else_about() {
    let (asked, smuggled) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, seen) = (Arc::clone(&asked), Arc::clone(&smuggled));
    let instance = Instance::start(move |request, stream| {
        count.fetch_add(1, Ordering::SeqCst);
        if request.start.contains("smuggled") {
            seen.lock().unwrap().push(request.start.clone());
        }
        answer(stream, 200, b"answer")
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let (from, count) = (number("LOCKSTEP_FRAMES_SEED", 0), number("LOCKSTEP_FRAMES_RANDOM", USUAL));
    let all = conversations();
    for seed in from..from + count {
        let mut random = Random(seed);
        let conversation = all[random.below(all.len())].clone();
        let bytes = random.change(conversation);
        if let Err(why) = talk(&running, &bytes) {
            panic!("seed {seed}: {why}");
        }
        let smuggled = smuggled.lock().unwrap();
        assert!(smuggled.is_empty(), "seed {seed}: {smuggled:?}");
    }
    assert!(asked.load(Ordering::SeqCst) > 0, "some of them are whole still");
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let request = super::support::request("GET", "/after").body(()).unwrap();
        assert_eq!(caller.ask(request, b"").await.unwrap().body, b"answer");
    });
    wait_until("nothing is under way", || running.in_flight() == 0);
}
