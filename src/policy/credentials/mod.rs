//! Where the AccessKey comes from that policies are signed with.

mod access_key;
mod environment;
mod error;
mod provider;
mod refreshing;
mod renewal;

pub use access_key::Credentials;
pub(super) use access_key::CredentialsIdentity;
pub use error::{CredentialsError, CredentialsProviderError, EnvironmentError};
pub use provider::{CredentialsLookup, CredentialsProvider};
pub use refreshing::RefreshingCredentials;
