//! AWS Signature Version 4: to sign a request, and to check that one is signed.
//! Pure: no I/O, no clock, no randomness.
//!
//! Both sides need it: the vault signs with a key that never leaves it, and the
//! gateway checks that an agent signed with the placeholder that its run was given.
//! Read `canonical` first (what is signed), then `sign` (how), `authorization` (what
//! a client says of it) and `chunked` (bodies that are signed piece by piece).
//!
//! Sources: the AWS IAM User Guide, "Create a signed AWS API request", and the
//! Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".

mod authorization;
mod canonical;
mod chunked;
mod key;
mod sign;

pub use authorization::{Authorization, NotSigned};
pub use canonical::{Parts, Paths};
pub use chunked::{BadChunk, Decoder, Pieces};
pub use key::Key;
pub use sign::{Moment, Payload, authorization, signature};

/// The name of the algorithm, as it stands before everything that is signed.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
