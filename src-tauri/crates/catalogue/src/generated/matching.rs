//! Finding the operations of a path, from the embedded bytes.
//!
//! The index is walked a segment at a time, by its literal text and as a
//! parameter; what says more from the left wins, as in hand-made tables.

use super::form::{Form, MANY, ONE};
use crate::path::Segments;
use fst::raw::{Fst, Output};

/// How many steps one search may take: enough for the longest path that a
/// gateway takes. What needs more was made for it, and is not matched.
const STEPS: usize = 65_536;

/// What an encoded slash may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slashes {
    /// A slash, to some servers: it fits no parameter within a segment.
    Split,
    /// Part of a name: the provider has its clients encode them.
    OfNames,
}

/// What a path matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Where its entries begin.
    pub(crate) entries: u64,
    /// What its parameters stand for, in the template's order.
    pub(crate) params: Vec<String>,
    /// A weight for each segment: what says more is greater.
    weights: Vec<u8>,
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy)]
struct At {
    node: fst::raw::CompiledAddr,
    out: Output,
}

/// A parameter's value: from a byte of one segment to a byte of another.
type Span = ((usize, usize), (usize, usize));

struct Walk<'f, 'a> {
    index: &'f Fst<&'a [u8]>,
    segments: Vec<&'f str>,
    method: u8,
    slashes: Slashes,
    left: usize,
    spans: Vec<Span>,
    weights: Vec<u8>,
    best: Vec<Hit>,
}

const LITERAL: u8 = 3;
const PARTLY: u8 = 2;
const PARAM: u8 = 1;
const REST: u8 = 0;

/// The best templates of a tree for a path: none, one, or several that say
/// equally much. `None` when the search was given up.
pub(crate) fn search(
    form: &Form<'_>,
    tree: u16,
    method: u8,
    path: &Segments,
    slashes: Slashes,
) -> Option<Vec<Hit>> {
    let index = &form.index;
    let start = At {
        node: index.root().addr(),
        out: Output::zero(),
    };
    let mut walk = Walk {
        index,
        segments: path.iter().collect(),
        method,
        slashes,
        left: STEPS,
        spans: Vec::new(),
        weights: Vec::new(),
        best: Vec::new(),
    };
    let [high, low] = tree.to_be_bytes();
    if let Some(at) = walk.step(start, high).and_then(|at| walk.step(at, low)) {
        walk.segment(at, 0);
    }
    (walk.left > 0).then_some(walk.best)
}

/// The entries of a key that is no path.
pub(crate) fn exact(form: &Form<'_>, tree: u16, name: &str) -> Option<u64> {
    let [high, low] = tree.to_be_bytes();
    let key = [&[high, low], name.as_bytes(), &[0, b'*']].concat();
    form.index.get(&key).map(Output::value)
}

impl Walk<'_, '_> {
    fn step(&mut self, at: At, byte: u8) -> Option<At> {
        self.left = self.left.checked_sub(1)?;
        let node = self.index.node(at.node);
        let transition = node.transition(node.find_input(byte)?);
        Some(At {
            node: transition.addr,
            out: at.out.cat(transition.out),
        })
    }

    /// At the end of a segment, before the next or the method.
    fn segment(&mut self, at: At, next: usize) {
        if next == self.segments.len() {
            for method in [self.method, b'*'] {
                let end = self.step(at, 0).and_then(|at| self.step(at, method));
                if let Some(end) = end {
                    self.found(end);
                }
            }
            return;
        }
        if let Some(at) = self.step(at, b'/') {
            self.weights.push(LITERAL);
            self.within(at, next, 0);
            self.weights.pop();
        }
    }

    /// Within a segment, before one of its bytes.
    fn within(&mut self, at: At, segment: usize, byte: usize) {
        let text = self.segments[segment];
        let Some(&literal) = text.as_bytes().get(byte) else {
            return self.segment(at, segment + 1);
        };
        // What templates do not hold, and the index uses for itself.
        if literal > MANY
            && literal != b'/'
            && let Some(at) = self.step(at, literal)
        {
            self.within(at, segment, byte + 1);
        }
        if let Some(at) = self.step(at, ONE) {
            let slash = text[byte..].contains('/');
            if self.slashes == Slashes::OfNames || !slash {
                self.param(at, (segment, byte), segment, PARAM);
            }
        }
        if byte == 0
            && let Some(at) = self.step(at, MANY)
        {
            for last in segment..self.segments.len() {
                self.param(at, (segment, 0), last, REST);
            }
        }
    }

    /// A parameter that begins at a byte and ends within or with a segment.
    fn param(&mut self, at: At, from: (usize, usize), last: usize, weight: u8) {
        let text = self.segments[last];
        let first = if last == from.0 { from.1 + 1 } else { 1 };
        let was = self.weights.last().copied();
        let whole = from.1 == 0;
        let mut end = first;
        while end <= text.len() && self.left > 0 {
            self.left -= 1;
            if text.is_char_boundary(end) {
                let at_end = end == text.len();
                if let Some(top) = self.weights.last_mut() {
                    *top = if weight == PARAM && !(whole && at_end) {
                        PARTLY
                    } else {
                        weight
                    };
                }
                self.spans.push((from, (last, end)));
                if at_end {
                    self.segment(at, last + 1);
                } else if self.goes_on_with(at, text.as_bytes()[end]) {
                    self.within(at, last, end);
                }
                self.spans.pop();
            }
            end += 1;
        }
        if let (Some(top), Some(was)) = (self.weights.last_mut(), was) {
            *top = was;
        }
    }

    fn goes_on_with(&mut self, at: At, byte: u8) -> bool {
        let node = self.index.node(at.node);
        byte > MANY && byte != b'/' && node.find_input(byte).is_some()
    }

    fn found(&mut self, end: At) {
        let node = self.index.node(end.node);
        if !node.is_final() {
            return;
        }
        let weights = self.weights.clone();
        match self.best.first() {
            Some(best) if best.weights > weights => return,
            Some(best) if best.weights < weights => self.best.clear(),
            _ => {}
        }
        let entries = end.out.cat(node.final_output()).value();
        if self.best.iter().any(|hit| hit.entries == entries) {
            return;
        }
        let params = self.spans.iter().map(|span| self.value(*span)).collect();
        self.best.push(Hit {
            entries,
            params,
            weights,
        });
    }

    fn value(&self, ((first, from), (last, to)): Span) -> String {
        if first == last {
            return self.segments[first][from..to].to_owned();
        }
        let mut value = self.segments[first][from..].to_owned();
        for segment in &self.segments[first + 1..last] {
            value.push('/');
            value.push_str(segment);
        }
        value.push('/');
        value + &self.segments[last][..to]
    }
}
