//! The places whose lines are wanted, as a tree that a scanner walks beside the document.

use std::borrow::Cow;
use std::collections::HashMap;

use super::unescaped;

/// A tree of JSON pointers; node 0 is the whole document.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<TrieNode>,
}

#[derive(Debug, Default)]
struct TrieNode {
    children: HashMap<String, usize>,
    line: Option<u32>,
}

impl Trie {
    pub(super) fn new(pointers: &[&str]) -> Self {
        let mut trie = Self { nodes: vec![TrieNode { line: Some(1), ..TrieNode::default() }] };
        for pointer in pointers {
            trie.insert(pointer);
        }
        trie
    }

    fn insert(&mut self, pointer: &str) {
        let mut at = 0;
        for token in tokens(pointer) {
            at = self.child(at, &token).unwrap_or_else(|| self.grow(at, token.into_owned()));
        }
    }

    fn grow(&mut self, at: usize, token: String) -> usize {
        let child = self.nodes.len();
        self.nodes[at].children.insert(token, child);
        self.nodes.push(TrieNode::default());
        child
    }

    /// The child of `node` under a key or index, when something below it is wanted.
    pub(super) fn child(&self, node: usize, token: &str) -> Option<usize> {
        self.nodes[node].children.get(token).copied()
    }

    /// True when nothing below `node` is wanted.
    pub(super) fn is_leaf(&self, node: usize) -> bool {
        self.nodes[node].children.is_empty()
    }

    /// Sets the line of `node`; the last of equal keys wins, as it does for the value.
    pub(super) fn mark(&mut self, node: usize, line: u32) {
        self.nodes[node].line = Some(line);
    }

    /// The line of the deepest marked node on the way to `pointer`.
    pub(super) fn line(&self, pointer: &str) -> u32 {
        let mut at = 0;
        let mut line = self.nodes[0].line;
        for token in tokens(pointer) {
            match self.child(at, &token) {
                Some(child) => at = child,
                None => break,
            }
            line = self.nodes[at].line.or(line);
        }
        line.unwrap_or(1)
    }
}

fn tokens(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(unescaped)
}
