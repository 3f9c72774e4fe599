//! A growable array that never moves what it holds and never allocates or frees much at once.

/// Items in a segment. At 56 bytes an item a segment has 56 KB: allocating one takes a few microseconds.
const SEGMENT: usize = 1024;

/// An array of fixed segments. A `Vec` copies everything when it grows, which takes milliseconds from some
/// hundred thousand items on; here only the list of segments is copied.
#[derive(Debug)]
pub(super) struct Segments<T> {
    /// All full but the last one in use, which may be followed by one that is empty.
    segments: Vec<Vec<T>>,
    len: usize,
}

impl<T> Segments<T> {
    pub(super) const fn new() -> Self {
        Self {
            segments: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.segments.get(at / SEGMENT)?.get(at % SEGMENT)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.segments.get_mut(at / SEGMENT)?.get_mut(at % SEGMENT)
    }

    pub(super) fn push(&mut self, item: T) {
        let segment = self.len / SEGMENT;
        if segment == self.segments.len() {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        if let Some(segment) = self.segments.get_mut(segment) {
            segment.push(item);
            self.len += 1;
        }
    }

    /// Removes the last item. One empty segment is kept, so that pushing and popping at a border does not
    /// allocate each time.
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let item = self.segments.get_mut(last / SEGMENT)?.pop()?;
        self.len = last;
        self.segments.truncate(last.div_ceil(SEGMENT) + 1);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_and_segments_are_given_back() {
        let mut items = Segments::new();
        for n in 0..10 * SEGMENT {
            items.push(n);
        }
        assert_eq!(items.len(), 10 * SEGMENT);
        assert_eq!(items.get(5000), Some(&5000));
        assert_eq!(items.get(10 * SEGMENT as u32), None);
        for n in (3..10 * SEGMENT).rev() {
            assert_eq!(items.pop(), Some(n));
        }
        assert_eq!(items.segments.len(), 2);
        assert_eq!((items.get(2), items.get(3)), (Some(&2), None));
        assert_eq!(items.pop(), Some(2));
    }
}
