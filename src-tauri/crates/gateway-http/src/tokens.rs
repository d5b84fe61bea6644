//! What an answer of a model cost, by the service's own word: read in passing
//! from the reply, whole or streamed, for the record after.
//!
//! No JSON parser: the names and numbers of the providers' `usage` objects are
//! looked for. In a string of JSON they cannot stand, since its quotes are
//! escaped there. Later numbers stand in place of earlier ones.

use countersign_model::Tokens;

/// Longer than any name with its number.
const LONGEST: usize = 80;
/// What all names hold.
const MARK: &[u8] = b"oken";

/// Reads pieces of one reply.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The end of what came before, in which a name may have begun.
    tail: Vec<u8>,
    input: Option<u64>,
    /// Anthropic counts what it keeps for later, and what it had kept, apart.
    kept: u64,
    had: u64,
    output: Option<u64>,
    /// Google counts what the model thinks apart.
    thought: u64,
}

impl Meter {
    /// Reads a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut text = std::mem::take(&mut self.tail);
        text.extend_from_slice(piece);
        for at in memchr::memmem::find_iter(&text, MARK) {
            if let Some((name, number)) = entry(&text, at) {
                self.note(name, number);
            }
        }
        text.drain(..text.len().saturating_sub(LONGEST));
        self.tail = text;
    }

    /// What is known so far.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let input = self.input.unwrap_or(0);
        Some(Tokens {
            input: input.saturating_add(self.kept).saturating_add(self.had),
            output: self.output.unwrap_or(0).saturating_add(self.thought),
        })
    }

    fn note(&mut self, name: &[u8], number: u64) {
        match name {
            b"input_tokens" | b"prompt_tokens" | b"promptTokenCount" => self.input = Some(number),
            b"cache_creation_input_tokens" => self.kept = number,
            b"cache_read_input_tokens" => self.had = number,
            b"output_tokens" | b"completion_tokens" | b"candidatesTokenCount" => {
                self.output = Some(number);
            }
            b"thoughtsTokenCount" => self.thought = number,
            _ => {}
        }
    }
}

/// The `"name": number` around a mark, when all of it is there.
fn entry(text: &[u8], mark: usize) -> Option<(&[u8], u64)> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let from = mark - text[..mark].iter().rev().take_while(|b| is_name(b)).count();
    let to = mark + text[mark..].iter().take_while(|b| is_name(b)).count();
    let before = text[..from].strip_suffix(b"\"")?;
    if before.last() == Some(&b'\\') {
        return None;
    }
    let rest = text[to..].strip_prefix(b"\"")?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    // Only with what follows it is a number known to be whole.
    rest.get(digits)?;
    let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    // The model's numbers fit: JSON's safe integers (RFC 8259 section 6).
    (number < 1 << 53).then_some((&text[from..to], number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(reply: &str, piece: usize) -> Option<(u64, u64)> {
        let mut meter = Meter::default();
        for piece in reply.as_bytes().chunks(piece) {
            meter.push(piece);
        }
        meter.tokens().map(|t| (t.input, t.output))
    }

    #[test]
    fn the_usage_of_each_provider_is_read_however_the_reply_is_cut() {
        let anthropic = "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":7,\
             \"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n\
             event: message_delta\ndata: {\"usage\":{\"output_tokens\": 42 }}\n\n";
        let openai = "{\"usage\":{\"input_tokens\":7,\"input_tokens_details\":{\"cached_tokens\":3},\"output_tokens\":9}}";
        let chat = "{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}";
        let google = "{\"usageMetadata\": {\"promptTokenCount\": 4,\"candidatesTokenCount\": 2,\"thoughtsTokenCount\": 30}}";
        for piece in [1, 2, 7, 1000] {
            assert_eq!(tokens(anthropic, piece), Some((117, 42)));
            assert_eq!(tokens(openai, piece), Some((7, 9)));
            assert_eq!(tokens(chat, piece), Some((5, 6)));
            assert_eq!(tokens(google, piece), Some((4, 32)));
        }
    }

    #[test]
    fn what_a_model_writes_is_no_usage() {
        let text = r#"{"text":"it said \"output_tokens\": 9 and \"input_tokens\": 9,"}"#;
        assert_eq!(tokens(text, 1000), None);
        assert_eq!(tokens("{\"output_tokens\":\"9\"}", 1000), None);
        assert_eq!(tokens("{\"output_tokens\":99999999999999999}", 1000), None);
        assert_eq!(tokens("", 1), None);
    }
}
