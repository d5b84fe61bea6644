//! Writing the embedded form; what each section holds is said where it is read.

use crate::operation::{Catalogue, Operation};
use countersign_catalogue::embedded::{Class, MAGIC, WORDS_AN_OFFSET};
use countersign_model::Effect;
use fst::MapBuilder;
use std::collections::{BTreeMap, HashMap};

/// The embedded form of a catalogue.
pub(crate) fn write(catalogue: &Catalogue) -> Result<Vec<u8>, String> {
    let mut words = Words::of(catalogue);
    let mut classes = Numbered::default();
    let mut services = Numbered::default();
    let mut trees = Numbered::default();
    let mut by_key: BTreeMap<Vec<u8>, Vec<&Operation>> = BTreeMap::new();
    for operation in &catalogue.operations {
        let tree = trees.number(operation.tree.clone());
        for key in &operation.keys {
            let tree = u16::try_from(tree).map_err(|_| "too many trees")?;
            let mut bytes = tree.to_be_bytes().to_vec();
            bytes.extend_from_slice(key.path.as_bytes());
            bytes.extend([0, u8::try_from(key.method).map_err(|_| "a method")?]);
            by_key.entry(bytes).or_default().push(operation);
        }
    }

    let mut entries = Vec::new();
    let mut written: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut index = MapBuilder::memory();
    for (key, operations) in &by_key {
        let mut entry = Vec::new();
        // The plainest name stands first, and gives the sentence.
        let mut operations: Vec<&Operation> = operations.clone();
        operations.sort_by_key(|o| (o.name.len(), &o.name, &o.service));
        let mut parts: Vec<Vec<u8>> = operations
            .iter()
            .map(|operation| one(operation, key, &mut words, &mut classes, &mut services))
            .collect::<Result<_, _>>()?;
        parts.dedup();
        varint(parts.len(), &mut entry);
        parts.iter().for_each(|part| entry.extend_from_slice(part));
        let at = *written.entry(entry.clone()).or_insert_with(|| {
            let at = entries.len() as u64;
            entries.extend_from_slice(&entry);
            at
        });
        index.insert(key, at).map_err(|e| e.to_string())?;
    }

    let mut lists = Vec::new();
    let mut hosts = MapBuilder::memory();
    let mut by_host: BTreeMap<Vec<u8>, Vec<(bool, usize)>> = BTreeMap::new();
    for (provider, host, name) in &catalogue.hosts {
        if let Some(tree) = trees.known(name) {
            let key = format!("{provider}\0{host}").into_bytes();
            // Where several answer, the one that the host is named after is first.
            let service = name.rsplit(' ').next().unwrap_or_default();
            let other = !host.split('.').any(|label| label == service);
            by_host.entry(key).or_default().push((other, tree));
        }
    }
    for (key, mut trees) in by_host {
        trees.sort();
        hosts
            .insert(&key, lists.len() as u64)
            .map_err(|e| e.to_string())?;
        varint(trees.len(), &mut lists);
        trees.iter().for_each(|(_, tree)| varint(*tree, &mut lists));
    }

    let services = services_section(&services.in_order(), &mut words)?;
    let sections = [
        classes_section(&classes.in_order()),
        words.section()?,
        services,
        hosts.into_inner().map_err(|e| e.to_string())?,
        lists,
        entries,
        index.into_inner().map_err(|e| e.to_string())?,
    ];
    let mut out = MAGIC.to_vec();
    for section in &sections {
        out.extend(four(section.len())?);
    }
    sections
        .iter()
        .for_each(|section| out.extend_from_slice(section));
    Ok(out)
}

/// One operation under one of its keys.
fn one(
    operation: &Operation,
    key: &[u8],
    words: &mut Words,
    classes: &mut Numbered<[u8; 6]>,
    services: &mut Numbered<(String, String, String)>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    varint(classes.number(class(operation.class())), &mut out);
    let service = (
        operation.provider.to_owned(),
        operation.service.clone(),
        operation.title.clone(),
    );
    varint(services.number(service), &mut out);
    let mut name = Vec::new();
    let text = String::from_utf8_lossy(key.get(2..key.len() - 2).unwrap_or_default());
    // A name in the key need not stand here again.
    let named = text.strip_prefix("T:").or(text.strip_prefix("A:"));
    if named.is_none_or(|named| named.rsplit('.').next() != Some(&operation.name)) {
        for piece in pieces(&operation.name) {
            name.push(words.number(piece)?);
        }
    }
    varint(name.len(), &mut out);
    name.iter().for_each(|word| varint(*word, &mut out));
    match &operation.object {
        Some(object) => varint(1 + words.number(object)?, &mut out),
        None => varint(0, &mut out),
    }
    let wants = operation
        .keys
        .iter()
        .find(|k| k.path == text && key.last() == u8::try_from(k.method).ok().as_ref())
        .map(|k| k.wants.as_slice())
        .unwrap_or_default();
    varint(wants.len(), &mut out);
    for want in wants {
        varint(usize::from(want.header), &mut out);
        varint(words.number(&want.name)?, &mut out);
        match &want.value {
            Some(value) => varint(1 + words.number(value)?, &mut out),
            None => varint(0, &mut out),
        }
    }
    Ok(out)
}

fn class(class: Class) -> [u8; 6] {
    let bits = Effect::ALL
        .iter()
        .enumerate()
        .fold(0u16, |bits, (at, effect)| {
            if class.effects.has(*effect) {
                bits | 1 << at
            } else {
                bits
            }
        });
    let [low, high] = bits.to_le_bytes();
    [low, high, class.traits.0, class.level as u8, 0, 0]
}

fn classes_section(classes: &[[u8; 6]]) -> Vec<u8> {
    classes.concat()
}

fn services_section(
    services: &[(String, String, String)],
    words: &mut Words,
) -> Result<Vec<u8>, String> {
    let mut texts = Vec::new();
    let mut out = four(services.len())?.to_vec();
    for (provider, name, title) in services {
        out.extend(four(texts.len())?);
        for text in [provider, name, title] {
            varint(words.number(text)?, &mut texts);
        }
    }
    out.extend(texts);
    Ok(out)
}

/// Every text of the catalogue, the frequent ones first.
struct Words {
    numbers: HashMap<String, usize>,
    in_order: Vec<String>,
}

impl Words {
    fn of(catalogue: &Catalogue) -> Self {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for operation in &catalogue.operations {
            let whole = [operation.provider, &operation.service, &operation.title];
            let wants = operation.keys.iter().flat_map(|key| &key.wants);
            let wants = wants.flat_map(|want| [Some(&want.name), want.value.as_ref()]);
            let others = wants.flatten().chain(&operation.object).map(String::as_str);
            for text in pieces(&operation.name).into_iter().chain(others) {
                *times.entry(text).or_default() += 1;
            }
            for text in whole {
                times.entry(text).or_default();
            }
        }
        let mut in_order: Vec<(&str, usize)> = times.into_iter().collect();
        in_order.sort_by_key(|(text, times)| (std::cmp::Reverse(*times), *text));
        let in_order: Vec<String> = in_order
            .into_iter()
            .map(|(text, _)| text.to_owned())
            .collect();
        let numbered = in_order.iter().cloned().enumerate();
        Self {
            numbers: numbered.map(|(at, text)| (text, at)).collect(),
            in_order,
        }
    }
    fn number(&self, text: &str) -> Result<usize, String> {
        let number = self.numbers.get(text).copied();
        number.ok_or_else(|| format!("no such word: {text}"))
    }
    fn section(&self) -> Result<Vec<u8>, String> {
        let blocks = self.in_order.chunks(WORDS_AN_OFFSET);
        let mut out = four(blocks.len())?.to_vec();
        let mut texts = Vec::new();
        for block in blocks {
            out.extend(four(texts.len())?);
            for text in block {
                texts.push(u8::try_from(text.len()).map_err(|_| format!("too long: {text}"))?);
                texts.extend_from_slice(text.as_bytes());
            }
        }
        out.extend(texts);
        Ok(out)
    }
}

/// The pieces of a name: each begins with a separator or a capital letter.
fn pieces(name: &str) -> Vec<&str> {
    let bytes = name.as_bytes();
    let begins = |at: &usize| {
        let (before, here) = (bytes[at - 1], bytes[*at]);
        before.is_ascii_alphanumeric() && !here.is_ascii_alphanumeric()
            || here.is_ascii_uppercase() && before.is_ascii_lowercase()
    };
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in (1..bytes.len()).filter(begins) {
        pieces.push(&name[from..at]);
        from = at;
    }
    pieces.push(&name[from..]);
    pieces
}

/// Things with numbers, in the order in which they came.
struct Numbered<T>(HashMap<T, usize>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: std::hash::Hash + Eq + Clone> Numbered<T> {
    fn number(&mut self, thing: T) -> usize {
        let next = self.0.len();
        *self.0.entry(thing).or_insert(next)
    }
    fn in_order(&self) -> Vec<T> {
        let mut all: Vec<(&T, &usize)> = self.0.iter().collect();
        all.sort_by_key(|(_, number)| **number);
        all.into_iter().map(|(thing, _)| thing.clone()).collect()
    }
}

impl Numbered<String> {
    fn known(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }
}

fn four(number: usize) -> Result<[u8; 4], String> {
    let number = u32::try_from(number).map_err(|_| "too large for the form")?;
    Ok(number.to_le_bytes())
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}
