//! Requests and answers that are changed at random: what no rule thought of. Whatever seed is named makes the same cases again.

use crate::answers::POISON;
use crate::case::Case;

/// Good messages that are changed.
const REQUESTS: [&str; 5] = [
    "GET /case?a=b HTTP/1.1\r\nhost: shop.test\r\naccept: */*\r\ncookie: a=b\r\n\r\n",
    "POST /case HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello",
    "POST /case HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nx-a: b\r\n\r\n",
    "PUT /case HTTP/1.1\r\nhost: shop.test\r\nexpect: 100-continue\r\nconnection: keep-alive, x-a\r\nx-a: b\r\ncontent-length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.test\r\n",
    "GET http://shop.test/case HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nGET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n",
];

const ANSWERS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: b\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello",
    "HTTP/1.1 204 None\r\nx-a: b\r\n\r\n",
];

/// What is put in: pieces that decide how something is read.
const WORDS: [&str; 40] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ": ",
    ";",
    ",",
    "\0",
    "\x0b",
    "0",
    "5",
    "a",
    "0\r\n\r\n",
    "content-length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length:",
    "content_length: 9\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "transfer-encoding: identity\r\n",
    "chunked",
    "\r\n chunked",
    "host: other.test\r\n",
    "connection: close\r\n",
    "HTTP/1.0",
    "HTTP/1.1",
    "GET ",
    "/",
    "%",
    "..",
    "\\",
    "#",
    "\u{85}",
    "+",
    "-",
    "0x",
    "ffffffffffffffff",
];

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Changes a message at one to four places.
    fn change(&mut self, message: &str) -> Vec<u8> {
        let mut bytes = message.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let (at, word) = (self.below(bytes.len()), self.one_of(&WORDS).as_bytes());
            let end = (at + self.below(12)).min(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.next() as u8,
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..end, word.iter().copied())),
                3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                _ => drop(bytes.splice(at..at, word.iter().copied())),
            }
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        bytes
    }
}

/// Makes so many cases, half of them of answers.
pub(crate) fn cases(seed: u64, count: usize) -> Vec<Case> {
    let one = |number: usize| {
        let mut random = Random(seed.wrapping_add(number as u64));
        let name = format!("seed {}", seed.wrapping_add(number as u64));
        if number.is_multiple_of(2) {
            let message = random.one_of(&REQUESTS);
            return Case::request("random request", name, random.change(message));
        }
        let message = random.one_of(&ANSWERS);
        let mut said = random.change(message);
        if random.below(3) == 0 {
            said.extend_from_slice(POISON.as_bytes());
        }
        let case = Case::answer("random answer", name, said);
        if random.below(2) == 0 { case.closing() } else { case }
    };
    (0..count).map(one).collect()
}
