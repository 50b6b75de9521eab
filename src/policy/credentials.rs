//! The AccessKey that signs policies, and where it comes from.

mod access_key;
mod environment;
mod provider;
mod refreshing;

pub use access_key::{Credentials, CredentialsError};
pub use provider::{CredentialsProvider, CredentialsProviderError};
pub use refreshing::RefreshingCredentials;
