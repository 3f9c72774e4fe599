//! Header fields as bytes with offsets.

use crate::Name;
use crate::syntax::{FieldSyntax, is_field_name, is_field_value, split_field};

/// The fields of a head or a trailer section, in order, with names as they were written.
///
/// The bytes lie in one buffer and are copied only when a field is added. Fields of the same name
/// stay apart.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// The well-known names among them.
    names: u64,
}

/// Where a field lies in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    start: u32,
    value: u32,
    end: u32,
    name_len: u16,
    name: Name,
    /// The line is `name: value CRLF` and can be copied as it stands.
    plain: bool,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as a number.
    pub id: Name,
    /// The name as written.
    pub name: &'a [u8],
    /// The value, without the white space around it.
    pub value: &'a [u8],
}

// === impl Slot ===

impl Slot {
    /// Parses the line of a head that begins at `start` of the buffer and is `line` without its end.
    pub(crate) fn parse(line: &[u8], start: usize, crlf: bool) -> Result<Self, FieldSyntax> {
        let (name, value) = split_field(line)?;
        let value_at = start + value.start;
        Ok(Self {
            start: offset(start)?,
            value: offset(value_at)?,
            end: offset(start + value.end)?,
            name_len: u16::try_from(name).map_err(|_| FieldSyntax)?,
            name: Name::of(line.get(..name).unwrap_or_default()),
            plain: crlf && value.end == line.len(),
        })
    }

    pub(crate) fn name(&self) -> Name {
        self.name
    }

    pub(crate) fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.value as usize..self.end as usize)
            .unwrap_or_default()
    }

    fn name_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        bytes
            .get(start..start + usize::from(self.name_len))
            .unwrap_or_default()
    }
}

fn offset(at: usize) -> Result<u32, FieldSyntax> {
    u32::try_from(at).map_err(|_| FieldSyntax)
}

// === impl Fields ===

impl Fields {
    /// No fields yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The fields at `slots` of `bytes`.
    pub(crate) fn from_parsed(bytes: Vec<u8>, slots: Vec<Slot>) -> Self {
        let names = slots.iter().fold(0, |set, slot| set | slot.name.bit());
        Self {
            bytes,
            slots,
            names,
        }
    }

    /// Everything that the fields were parsed from, and what was added.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.slots.iter().map(|slot| self.at(slot))
    }

    fn at(&self, slot: &Slot) -> Field<'_> {
        Field {
            id: slot.name,
            name: slot.name_bytes(&self.bytes),
            value: slot.value(&self.bytes),
        }
    }

    /// Whether there is a field of that name.
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.names & name.bit() != 0
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all fields of that name.
    pub fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        let slots: &[Slot] = if self.has(name) { &self.slots } else { &[] };
        slots
            .iter()
            .filter(move |slot| slot.name == name)
            .map(|slot| slot.value(&self.bytes))
    }

    /// The value of the first field called `name`, in whatever case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.slots
            .iter()
            .find(|slot| slot.name_bytes(&self.bytes).eq_ignore_ascii_case(name))
            .map(|slot| slot.value(&self.bytes))
    }

    /// The values of all fields called `name`, in whatever case.
    pub fn find_all<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.slots
            .iter()
            .filter(move |slot| slot.name_bytes(&self.bytes).eq_ignore_ascii_case(name))
            .map(|slot| slot.value(&self.bytes))
    }

    /// The elements of a field that is a list, over all its lines, without empty ones (RFC 9110
    /// section 5.6.1).
    pub fn tokens(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.all(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    /// Whether the list `name` has `token`, in whatever case.
    #[must_use]
    pub fn has_token(&self, name: Name, token: &[u8]) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// Adds a field at the end. Returns whether it was: a name or value that cannot stand in a head
    /// is left out.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        if !is_field_name(name) || !is_field_value(value) {
            return false;
        }
        // Bytes behind the last parsed line need not be a field: a new one begins on its own.
        let start = self.bytes.len();
        let (Ok(at), Ok(value_at), Ok(end), Ok(name_len)) = (
            offset(start),
            offset(start + name.len() + 2),
            offset(start + name.len() + 2 + value.len()),
            u16::try_from(name.len()),
        ) else {
            return false;
        };
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        let name = Name::of(name);
        self.slots.push(Slot {
            start: at,
            value: value_at,
            end,
            name_len,
            name,
            plain: true,
        });
        self.names |= name.bit();
        true
    }

    /// Removes every field of that name.
    pub fn remove(&mut self, name: Name) {
        if self.has(name) {
            self.slots.retain(|slot| slot.name != name);
            self.names &= !name.bit();
        }
    }

    /// Removes every field called `name`, in whatever case.
    pub fn remove_called(&mut self, name: &[u8]) {
        self.retain(|field| !field.name.eq_ignore_ascii_case(name));
    }

    /// Replaces every field called `name` by one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove_called(name);
        self.push(name, value);
    }

    /// Keeps the fields for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let bytes = &self.bytes;
        self.slots.retain(|slot| {
            keep(Field {
                id: slot.name,
                name: slot.name_bytes(bytes),
                value: slot.value(bytes),
            })
        });
        self.names = self.slots.iter().fold(0, |set, slot| set | slot.name.bit());
    }

    /// Appends the fields as lines of a head.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_where(out, |_| true);
    }

    /// Appends the fields for which `keep` is true as lines of a head. Lines that follow each other in
    /// the buffer are copied at once.
    pub fn write_where(&self, out: &mut Vec<u8>, mut keep: impl FnMut(Field<'_>) -> bool) {
        let mut run = 0..0;
        for slot in &self.slots {
            if !keep(self.at(slot)) {
                continue;
            }
            if slot.plain {
                let (start, end) = (slot.start as usize, slot.end as usize + 2);
                if run.end == start {
                    run.end = end;
                } else {
                    out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
                    run = start..end;
                }
                continue;
            }
            out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
            run = 0..0;
            let field = self.at(slot);
            out.extend_from_slice(field.name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fields {
        let mut fields = Fields::new();
        for (name, value) in [
            ("Host", "a"),
            ("X-One", "1"),
            ("accept-encoding", "gzip, br"),
            ("Accept-Encoding", ", zstd"),
        ] {
            assert!(fields.push(name.as_bytes(), value.as_bytes()));
        }
        fields
    }

    fn text(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn fields_are_found_by_number_and_by_name() {
        let fields = sample();
        assert_eq!(fields.get(Name::Host), Some(&b"a"[..]));
        assert_eq!(fields.find(b"x-ONE"), Some(&b"1"[..]));
        let tokens: Vec<_> = fields.tokens(Name::AcceptEncoding).collect();
        assert_eq!(tokens, [&b"gzip"[..], b"br", b"zstd"]);
        assert!(fields.has_token(Name::AcceptEncoding, b"BR"));
        assert!(!fields.has(Name::Date));
    }

    #[test]
    fn changes_keep_the_order_of_the_rest() {
        let mut fields = sample();
        fields.set(b"x-one", b"2");
        fields.remove(Name::Host);
        assert_eq!(
            text(&fields),
            "accept-encoding: gzip, br\r\nAccept-Encoding: , zstd\r\nx-one: 2\r\n"
        );
    }

    #[test]
    fn what_could_split_a_head_is_left_out() {
        let mut fields = Fields::new();
        assert!(!fields.push(b"a b", b"x"));
        assert!(!fields.push(b"a", b"x\r\nb: y"));
        assert!(!fields.push(b"a", b"x\0"));
        assert!(fields.is_empty());
    }
}
