//! The newest few of something: one more puts out the one that has been there for longest.

use std::collections::VecDeque;

/// The newest few, by a name.
#[derive(Debug)]
pub(crate) struct Newest<K, V> {
    most: usize,
    all: VecDeque<(K, V)>,
}

impl<K: PartialEq, V> Newest<K, V> {
    /// Keeps at most so many.
    pub(crate) fn of(most: usize) -> Self {
        Self { most, all: VecDeque::with_capacity(most) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.all.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Keeps one more, in the place of one of the same name.
    pub(crate) fn put(&mut self, key: K, value: V) {
        let _former = self.take(&key);
        if self.all.len() >= self.most {
            self.all.pop_front();
        }
        self.all.push_back((key, value));
    }

    pub(crate) fn take(&mut self, key: &K) -> Option<V> {
        let at = self.all.iter().position(|(known, _)| known == key)?;
        self.all.remove(at).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_put_out_whatever_it_is_called() {
        let mut newest = Newest::of(2);
        newest.put("z", 1);
        newest.put("a", 2);
        newest.put("m", 3);
        assert_eq!((newest.get(&"z"), newest.get(&"a"), newest.get(&"m")), (None, Some(&2), Some(&3)));
        newest.put("a", 4);
        newest.put("b", 5);
        assert_eq!((newest.take(&"m"), newest.take(&"a"), newest.take(&"a")), (None, Some(4), None));
    }
}
