//! Buffers of a worker. They belong to work, not to connections: one is lent when bytes have arrived, and comes back as
//! soon as its connection waits with nothing in it.
//!
//! Each worker is a thread and has its own shelf, so nothing is locked. What the shelf keeps is bounded; what a buffer held
//! before is never seen again, because only what was read into it since is looked at.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room that is made for a read of a head.
pub(crate) const HEAD_ROOM: usize = 8 * 1_024;
/// Room that is made for the beginning of an answer: most answers fit in as a whole, and are read and sent at once.
pub(crate) const ANSWER_ROOM: usize = 32 * 1_024;
/// Room that is made for a read of a body.
pub(crate) const BODY_ROOM: usize = 64 * 1_024;

/// Sizes of buffers for what is read.
const SIZES: [usize; 3] = [HEAD_ROOM, ANSWER_ROOM, BODY_ROOM];
/// Buffers that are kept of each kind. More are only needed at once while as many connections wait in the middle of
/// something, and then allocating is not what costs.
const KEPT: usize = 32;
/// A buffer that grew beyond this is not kept.
const LARGEST: usize = 4 * BODY_ROOM;

#[derive(Default)]
struct Shelf {
    inputs: [Vec<BytesMut>; 3],
    outputs: Vec<Vec<u8>>,
    lent: usize,
}

thread_local! {
    static SHELF: RefCell<Shelf> = RefCell::default();
}

/// Makes room for a read.
pub(crate) fn make_room(input: &mut BytesMut, room: usize) {
    // What was consumed to its last byte shows no capacity, but has it.
    if input.is_empty() && !input.try_reclaim(1) {
        *input = SHELF.with_borrow_mut(|shelf| shelf.take_input(room));
    }
    // A room that is half used is still worth a read; so a small request costs no allocation.
    if input.capacity() - input.len() < room / 2 {
        input.reserve(room);
    }
}

/// Gives a buffer back that holds nothing.
pub(crate) fn give_back(input: &mut BytesMut) {
    if input.is_empty() && input.try_reclaim(1) {
        let input = std::mem::take(input);
        // The thread may be ending, and its shelf gone.
        let _ = SHELF.try_with(|shelf| shelf.borrow_mut().put_input(input));
    }
}

/// A buffer for what goes out, which is lent when it is needed.
#[derive(Debug, Default)]
pub(crate) struct Output(Vec<u8>);

impl Output {
    /// Borrows a buffer, empty or with what was written before.
    pub(crate) fn lend(&mut self) -> &mut Vec<u8> {
        if self.0.capacity() == 0 {
            self.0 = SHELF.with_borrow_mut(Shelf::take_output);
        }
        &mut self.0
    }

    /// Returns what was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns what was written, as it was lent.
    pub(crate) fn written(&self) -> &Vec<u8> {
        &self.0
    }

    /// Forgets what was written, and gives the buffer back.
    pub(crate) fn give_back(&mut self) {
        if self.0.capacity() > 0 {
            let output = std::mem::take(&mut self.0);
            let _ = SHELF.try_with(|shelf| shelf.borrow_mut().put_output(output));
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Returns how many buffers of this thread are lent.
#[cfg(test)]
pub(crate) fn lent() -> usize {
    SHELF.with_borrow(|shelf| shelf.lent)
}

impl Shelf {
    fn take_input(&mut self, room: usize) -> BytesMut {
        self.lent += 1;
        let size = SIZES.iter().position(|&size| size >= room).unwrap_or(SIZES.len() - 1);
        let kept = self.inputs[size..].iter_mut().find_map(Vec::pop);
        kept.unwrap_or_else(|| BytesMut::with_capacity(room.max(SIZES[size])))
    }

    fn put_input(&mut self, mut input: BytesMut) {
        self.lent = self.lent.saturating_sub(1);
        input.clear();
        // What was consumed from the front does not show as room; asking for more than is seen brings it back.
        let _ = input.try_reclaim(input.capacity() + 1);
        if input.capacity() > LARGEST {
            return;
        }
        let size = SIZES.iter().rposition(|&size| input.capacity() >= size);
        if let Some(kept) = size.map(|size| &mut self.inputs[size]).filter(|kept| kept.len() < KEPT) {
            kept.push(input);
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.lent += 1;
        self.outputs.pop().unwrap_or_else(|| Vec::with_capacity(ANSWER_ROOM))
    }

    fn put_output(&mut self, mut output: Vec<u8>) {
        self.lent = self.lent.saturating_sub(1);
        output.clear();
        if self.outputs.len() < KEPT && (ANSWER_ROOM..=LARGEST).contains(&output.capacity()) {
            self.outputs.push(output);
        }
    }
}
