//! Who we are to AWS, kept fresh.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use atlas_domain::{ProviderError, Retry};
use atlas_http::Outbound;
use atlas_vendor::Scrubber;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use secrecy::SecretString;
use serde::Serialize;

use crate::failure::{explain, is_expired};
use crate::options::AwsIdentityOptions;
use crate::source::{Issued, Source};

/// Credentials are renewed this long before they end: enough for a request that is signed at the
/// last moment and for a source that is away for a while.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Spread of that moment, so that replicas that started together do not ask together.
const JITTER: Duration = Duration::from_secs(60);
/// After a renewal that failed while the old credentials still work.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
/// Credentials that look expired when they are issued come from a source that is late or from a
/// clock that is wrong. AWS decides; meanwhile they are not asked for at every request.
const BELIEVED: Duration = Duration::from_secs(5 * 60);

/// Who we are to AWS. One per set of settings, shared by everything that signs.
pub struct Identity {
    source: Source,
    outbound: Outbound,
    state: Mutex<State>,
    /// Held while a source is asked: one asks, the others wait or use what there is.
    renewing: tokio::sync::Mutex<()>,
    now: fn() -> SystemTime,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Counts what was issued, so that a report about old credentials does not end new ones.
    generation: u64,
    n_failures: u64,
    last_failure: Option<ProviderError>,
}

#[derive(Clone)]
struct Held {
    issued: Issued,
    renew_at: SystemTime,
    ends_at: SystemTime,
}

/// Which identity requests are signed with, for the connection test. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdentityReport {
    /// `access keys`, `ecs task role`, `eks pod identity`, `container credentials`,
    /// `web identity (irsa)` or `instance role`.
    pub source: &'static str,
    /// The role, as far as the source says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The end of the access key's ID.
    pub access_key: String,
    /// When the credentials end; they are renewed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<jiff::Timestamp>,
}

impl Identity {
    /// Decides who we are; asks nobody yet. `services` is the client for what is asked like any
    /// other service, such as STS. `platform` is the one for services of the platform: its policy
    /// is [`atlas_http::EgressPolicy::credential_sources`], and it should go around every proxy,
    /// because link-local addresses are somewhere else on the other side of one.
    pub fn connect(
        options: &AwsIdentityOptions,
        services: &Outbound,
        platform: Option<&Outbound>,
    ) -> Result<Arc<Self>, ProviderError> {
        Self::with_clock(options, services, platform, SystemTime::now).map(Arc::new)
    }

    pub(crate) fn with_clock(
        options: &AwsIdentityOptions,
        services: &Outbound,
        platform: Option<&Outbound>,
        now: fn() -> SystemTime,
    ) -> Result<Self, ProviderError> {
        let source = Source::choose(options)?;
        let outbound = match platform {
            // Without a client of its own the source is refused by the policy of the other one.
            Some(platform) if source.is_on_platform() => platform.clone(),
            _ => services.clone(),
        };
        let state = Mutex::default();
        Ok(Self { source, outbound, state, renewing: tokio::sync::Mutex::default(), now })
    }

    /// Which source it is; see [`IdentityReport::source`].
    pub fn source(&self) -> &'static str {
        self.source.name()
    }

    /// What signs a request now. Sources are asked at most once at a time; when they fail, what
    /// was issued before is used until it ends.
    pub async fn credentials(&self) -> Result<Credentials, ProviderError> {
        if let Source::AccessKeys(credentials) = &self.source {
            return Ok(credentials.clone());
        }
        self.issued().await.map(|issued| issued.credentials)
    }

    /// Who that is.
    pub async fn report(&self) -> Result<IdentityReport, ProviderError> {
        let issued = match &self.source {
            Source::AccessKeys(credentials) => Issued { credentials: credentials.clone(), who: None },
            _ => self.issued().await?,
        };
        let id = issued.credentials.access_key_id();
        // Four of twenty characters tell keys apart and are no use to anyone.
        let end = id.get(id.len().saturating_sub(4)..).filter(|_| id.len() >= 12).unwrap_or_default();
        let expires_at = issued.credentials.expiry().and_then(|end| jiff::Timestamp::try_from(end).ok());
        Ok(IdentityReport {
            source: self.source.name(),
            role: issued.who,
            access_key: format!("…{end}"),
            expires_at,
        })
    }

    /// Sends a request that this identity signs; and once more, signed anew, when the service says
    /// that the credentials have ended. Of what a client repeats, this alone is not a question of
    /// patience.
    pub async fn call<T, E, F>(&self, send: impl Fn() -> F) -> Result<T, ProviderError>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let generation = self.generation();
        let error = match Box::pin(send()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !is_expired(&error) {
            return Err(explain(&error, &self.scrubber()));
        }
        if !self.renew(generation) {
            // Nobody gives us others.
            return Err(explain(&error, &self.scrubber()).with_retry(Retry::Never));
        }
        Box::pin(send()).await.map_err(|error| explain(&error, &self.scrubber()))
    }

    /// A number that changes with the credentials, so that a late report about old ones does not
    /// end new ones.
    pub(crate) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// The service says that the credentials of that generation have ended. True when a request
    /// sent again will be signed with others.
    pub(crate) fn renew(&self, generation: u64) -> bool {
        if matches!(self.source, Source::AccessKeys(_)) {
            return false;
        }
        let mut state = self.state();
        if state.generation == generation {
            state.held = None;
        }
        true
    }

    /// Takes the current secrets out of what AWS says.
    pub fn scrubber(&self) -> Scrubber {
        let held = self.state().held.clone();
        let credentials = match (&self.source, &held) {
            (Source::AccessKeys(credentials), _) => credentials,
            (_, Some(held)) => &held.issued.credentials,
            (_, None) => return Scrubber::default(),
        };
        let secrets = [Some(credentials.secret_access_key()), credentials.session_token()];
        let secrets: Vec<SecretString> = secrets.into_iter().flatten().map(SecretString::from).collect();
        Scrubber::new(&secrets)
    }

    async fn issued(&self) -> Result<Issued, ProviderError> {
        let (held, n_failures) = {
            let state = self.state();
            (state.held.clone(), state.n_failures)
        };
        let now = (self.now)();
        let usable = held.filter(|held| now < held.ends_at);
        if let Some(held) = &usable
            && now < held.renew_at
        {
            return Ok(held.issued.clone());
        }
        let _renewing = match &usable {
            Some(held) => match self.renewing.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(held.issued.clone()),
            },
            None => {
                let guard = self.renewing.lock().await;
                if let Some(outcome) = self.outcome_since(n_failures) {
                    return outcome;
                }
                guard
            }
        };
        match self.source.fetch(&self.outbound).await {
            Ok(issued) => Ok(self.keep(issued)),
            Err(error) => self.fall_back(usable, error),
        }
    }

    /// What somebody else got while we waited.
    fn outcome_since(&self, n_failures: u64) -> Option<Result<Issued, ProviderError>> {
        let state = self.state();
        let now = (self.now)();
        if let Some(held) = state.held.as_ref().filter(|held| now < held.renew_at) {
            return Some(Ok(held.issued.clone()));
        }
        state.last_failure.clone().filter(|_| state.n_failures != n_failures).map(Err)
    }

    fn keep(&self, issued: Issued) -> Issued {
        let now = (self.now)();
        let ends_at = issued.credentials.expiry().unwrap_or(now).max(now + BELIEVED);
        let renew_at = renew_at(now, ends_at, jitter(issued.credentials.access_key_id()));
        let mut state = self.state();
        state.held = Some(Held { issued: issued.clone(), renew_at, ends_at });
        state.generation += 1;
        state.last_failure = None;
        issued
    }

    fn fall_back(&self, usable: Option<Held>, error: ProviderError) -> Result<Issued, ProviderError> {
        let mut state = self.state();
        state.n_failures += 1;
        state.last_failure = Some(error.clone());
        let Some(held) = usable else { return Err(error) };
        tracing::warn!(source = self.source.name(), %error, "credentials could not be renewed; the old ones are used");
        // Unless the service said meanwhile that they have ended.
        if let Some(current) = &mut state.held {
            current.renew_at = (self.now)() + RENEW_AGAIN;
        }
        Ok(held.issued)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("source", &self.source).finish_non_exhaustive()
    }
}

impl fmt::Display for IdentityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source)?;
        if let Some(role) = &self.role {
            write!(f, " {role}")?;
        }
        write!(f, ", key {}", self.access_key)?;
        match self.expires_at {
            Some(end) => write!(f, ", until {end}"),
            None => Ok(()),
        }
    }
}

/// Five minutes before the end, or half-way where the whole time is not much more than that:
/// sources hand out what they have, which may end soon.
fn renew_at(now: SystemTime, ends_at: SystemTime, jitter: Duration) -> SystemTime {
    let left = ends_at.duration_since(now).unwrap_or_default();
    ends_at - (RENEW_BEFORE + jitter).min(left / 2)
}

/// The same for the same key, which is enough of a spread: replicas hold different keys.
fn jitter(access_key_id: &str) -> Duration {
    let sum = access_key_id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    JITTER.mul_f64(f64::from(sum % 1000) / 1000.0)
}

/// The identity as the SDK asks for it.
#[derive(Debug)]
pub(crate) struct Signer(pub(crate) Arc<Identity>);

impl ProvideCredentials for Signer {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            // Ours stays the source, where `explain` finds it again.
            self.0.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}

#[cfg(test)]
mod tests;
