//! A map from keys to values in order of use, in which no single operation takes long.
//!
//! A hash table that doubles moves all its entries at once: a pause of hundreds of milliseconds at a million
//! keys. This one is a linear hash table (Litwin, "Linear hashing", VLDB 1980): it has as many buckets as
//! entries, and each insertion splits one bucket, each removal merges one. Entries lie in [`Segments`] without
//! gaps: a removed entry is replaced by the last one, so that memory is given back step by step too.

use std::hash::{BuildHasher as _, RandomState};

use smallvec::SmallVec;

use super::segments::Segments;

/// Addresses stay inline.
type StoredKey = SmallVec<[u8; 16]>;

/// No entry.
const NONE: u32 = u32::MAX;

/// More buckets than entries by this much are kept, so that inserting and removing in turn does not split and
/// merge each time.
const SPARE_BUCKETS: usize = 64;

/// A map whose entries are linked from the most recently used to the least.
#[derive(Debug)]
pub(super) struct LruMap<V> {
    entries: Segments<Entry<V>>,
    /// The first entry of each bucket's chain.
    buckets: Segments<u32>,
    newest: u32,
    oldest: u32,
    /// Secret of this process, since a client may choose its key.
    hasher: RandomState,
    /// Entries that were put into another bucket or to another place.
    #[cfg(test)]
    pub(super) moved: u64,
}

#[derive(Debug)]
struct Entry<V> {
    key: StoredKey,
    value: V,
    hash: u32,
    /// The next entry of the same bucket.
    chained: u32,
    newer: u32,
    older: u32,
}

impl<V> LruMap<V> {
    pub(super) fn new() -> Self {
        Self {
            entries: Segments::new(),
            buckets: Segments::new(),
            newest: NONE,
            oldest: NONE,
            hasher: RandomState::new(),
            #[cfg(test)]
            moved: 0,
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`, which thereby becomes the most recently used.
    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let at = self.find(key)?;
        if at != self.newest {
            self.unlink(at);
            self.link_newest(at);
        }
        self.entries.get_mut(at).map(|entry| &mut entry.value)
    }

    /// The least recently used entry.
    pub(super) fn oldest(&self) -> Option<(&[u8], &V)> {
        let entry = self.entries.get(self.oldest)?;
        Some((&entry.key, &entry.value))
    }

    /// The entries, most recently used first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let mut at = self.newest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at)?;
            at = entry.older;
            Some((&*entry.key, &entry.value))
        })
    }

    /// Adds an entry, which becomes the most recently used. The caller knows that the key is not there.
    pub(super) fn insert(&mut self, key: &[u8], value: V) {
        let at = self.entries.len() as u32;
        let hash = self.hash(key);
        self.entries.push(Entry {
            key: StoredKey::from_slice(key),
            value,
            hash,
            chained: NONE,
            newer: NONE,
            older: NONE,
        });
        if self.buckets.len() < self.entries.len() {
            self.split();
        }
        self.chain(at, hash);
        self.link_newest(at);
    }

    /// Puts an entry in the place of the least recently used one. The caller knows that the key is not there.
    pub(super) fn replace_oldest(&mut self, key: &[u8], value: V) {
        let at = self.oldest;
        let hash = self.hash(key);
        self.unchain(at);
        self.unlink(at);
        let Some(entry) = self.entries.get_mut(at) else {
            return self.insert(key, value);
        };
        entry.key = StoredKey::from_slice(key);
        entry.value = value;
        entry.hash = hash;
        self.chain(at, hash);
        self.link_newest(at);
    }

    /// Removes the least recently used entry.
    pub(super) fn pop_oldest(&mut self) -> Option<V> {
        let at = self.oldest;
        self.entries.get(at)?;
        self.unchain(at);
        self.unlink(at);
        let last = self.entries.pop()?;
        let removed = if at as usize == self.entries.len() {
            last
        } else {
            self.fill(at, last)?
        };
        if self.buckets.len() > self.entries.len() + SPARE_BUCKETS {
            self.merge();
        }
        Some(removed.value)
    }

    // === entries ===

    /// Puts what was the last entry into the place `at`, and returns what was there.
    fn fill(&mut self, at: u32, last: Entry<V>) -> Option<Entry<V>> {
        self.count_moved();
        let from = self.entries.len() as u32;
        match self.entries.get_mut(last.newer) {
            Some(newer) => newer.older = at,
            None => self.newest = at,
        }
        match self.entries.get_mut(last.older) {
            Some(older) => older.newer = at,
            None => self.oldest = at,
        }
        self.redirect(last.hash, from, at);
        let place = self.entries.get_mut(at)?;
        Some(std::mem::replace(place, last))
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Entry { newer, older, .. }) = self.entries.get(at) else {
            return;
        };
        match self.entries.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let second = std::mem::replace(&mut self.newest, at);
        match self.entries.get_mut(second) {
            Some(entry) => entry.newer = at,
            None => self.oldest = at,
        }
        if let Some(entry) = self.entries.get_mut(at) {
            entry.newer = NONE;
            entry.older = second;
        }
    }

    // === buckets ===

    fn hash(&self, key: &[u8]) -> u32 {
        // Half of the bits are as good as all of them: buckets are counted in 32 bits.
        self.hasher.hash_one(key) as u32
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hash(key);
        let mut at = *self.buckets.get(self.bucket_of(hash))?;
        loop {
            let entry = self.entries.get(at)?;
            if entry.hash == hash && *entry.key == *key {
                return Some(at);
            }
            at = entry.chained;
        }
    }

    /// With n buckets and the next power of two P ≥ n: the hash modulo P, or modulo P / 2 if there is no such
    /// bucket yet.
    fn bucket_of(&self, hash: u32) -> u32 {
        let buckets = self.buckets.len().max(1);
        let mask = (buckets.next_power_of_two() - 1) as u32;
        match hash & mask {
            bucket if (bucket as usize) < buckets => bucket,
            bucket => bucket & (mask >> 1),
        }
    }

    fn chain(&mut self, at: u32, hash: u32) {
        let bucket = self.bucket_of(hash);
        if let Some(first) = self.buckets.get_mut(bucket) {
            let second = std::mem::replace(first, at);
            if let Some(entry) = self.entries.get_mut(at) {
                entry.chained = second;
            }
        }
    }

    fn unchain(&mut self, at: u32) {
        if let Some(&Entry { hash, chained, .. }) = self.entries.get(at) {
            self.redirect(hash, at, chained);
        }
    }

    /// Lets what points at the entry `from` of a chain point at `to`.
    fn redirect(&mut self, hash: u32, from: u32, to: u32) {
        let bucket = self.bucket_of(hash);
        let Some(first) = self.buckets.get_mut(bucket) else {
            return;
        };
        if *first == from {
            *first = to;
            return;
        }
        let mut at = *first;
        while let Some(entry) = self.entries.get_mut(at) {
            if entry.chained == from {
                entry.chained = to;
                return;
            }
            at = entry.chained;
        }
    }

    /// Adds a bucket, and moves there what belongs there now.
    fn split(&mut self) {
        let added = self.buckets.len() as u32;
        self.buckets.push(NONE);
        if let Some(whole) = buddy(added) {
            self.distribute(whole);
        }
    }

    /// Removes the last bucket, and puts what was in it where it belongs now.
    fn merge(&mut self) {
        let Some(first) = self.buckets.pop() else {
            return;
        };
        self.chain_all(first);
    }

    /// Chains the entries of a bucket anew.
    fn distribute(&mut self, bucket: u32) {
        if let Some(first) = self.buckets.get_mut(bucket) {
            let first = std::mem::replace(first, NONE);
            self.chain_all(first);
        }
    }

    fn chain_all(&mut self, first: u32) {
        let mut at = first;
        while let Some(&Entry { hash, chained, .. }) = self.entries.get(at) {
            self.chain(at, hash);
            self.count_moved();
            at = chained;
        }
    }

    fn count_moved(&mut self) {
        #[cfg(test)]
        {
            self.moved += 1;
        }
    }
}

/// The bucket whose entries a new one shares: the same number without its highest bit. None for the first.
fn buddy(bucket: u32) -> Option<u32> {
    Some(bucket & !(1 << bucket.checked_ilog2()?))
}
