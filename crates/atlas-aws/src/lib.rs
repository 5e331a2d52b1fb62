//! AWS through our own connections: who we are to AWS, and the Bedrock client.
//!
//! The AWS SDK is used for what it is good at (signing, endpoint names, event streams, types) and
//! for nothing that opens a socket or looks around: it has no HTTP client of its own here, its
//! requests go through [`SdkHttp`] and so through the egress policy, TLS settings, proxy and
//! ledger of `atlas-http`; it reads no profile file and no `AWS_*` variable that decides where
//! requests go or who signs them.
//!
//! Who we are is an [`Identity`]: access keys, or the role the platform gives to this task, pod
//! or machine. Which of them is decided once, from [`AwsIdentityOptions`], by what is configured.
//! A source that fails is an error that names it; the next one is not tried, because a request
//! signed by somebody unexpected is worse than no request. The three fetchers are ours rather than
//! those of `aws-config`, which brings a second SDK (STS) and a chain that tries everything.
//!
//! Not here: what is asked of a model (`atlas-providers`, `atlas-engines`), and repeating a call.

mod advice;
mod client;
mod document;
mod failure;
mod identity;
mod options;
mod region;
mod sdk_http;
mod source;
#[cfg(test)]
mod testing;
mod xml;

pub use advice::advise;
pub use client::{RuntimeEndpoint, bedrock_client};
pub use document::{from_document, to_document};
pub use failure::explain_event;
pub use identity::{Identity, IdentityReport};
pub use options::{AwsIdentityOptions, CredentialOrigins, PlatformVariables, credential_origins};
pub use sdk_http::SdkHttp;

/// The SDK whose client [`bedrock_client`] makes, so that its types have one version and one home.
pub use aws_sdk_bedrockruntime as sdk;
