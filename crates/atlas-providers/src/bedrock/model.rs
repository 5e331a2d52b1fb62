//! One model, and what was learnt about it by being refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlas_aws::advise;
use atlas_aws::sdk::types::{
    ContentBlock, ConversationRole, ConverseTokensRequest, CountTokensInput, Message as Turn,
};
use atlas_domain::{Check, Destination};
use atlas_guard::Cleared;
use atlas_llm::{
    ChatModel, ChatRequest, ChatStream, Inspection, ModelFacts, ProviderError, ProviderErrorKind as Kind,
};
use atlas_vendor::reach_check;
use futures_util::future::BoxFuture;

use super::Runtime;
use super::error::Lacks;
use super::request::{Abilities, Prepared, SchemaWay, prepare};
use super::stream::{streamed, whole};
use crate::request::addressed;

/// One model.
pub(super) struct BedrockModel {
    pub(super) runtime: Arc<Runtime>,
    pub(super) model: String,
    pub(super) facts: ModelFacts,
    /// What to use when it is retired.
    pub(super) replacement: Option<String>,
    pub(super) learnt: Arc<Learnt>,
}

/// What a model turned out to lack.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    lacks: [AtomicBool; 6],
}

impl Learnt {
    fn lacks(&self, what: Lacks) -> bool {
        self.lacks[what as usize].load(Ordering::Relaxed)
    }

    /// Whether that is news, so that the request may be made again without.
    fn learn(&self, what: Lacks) -> bool {
        !self.lacks[what as usize].swap(true, Ordering::Relaxed)
    }
}

impl BedrockModel {
    fn abilities(&self) -> Abilities {
        let has = |fact: Option<bool>, what| fact != Some(false) && !self.learnt.lacks(what);
        let tools = has(self.facts.tools, Lacks::Tools);
        let forced_tool = tools && has(self.facts.forced_tool_choice, Lacks::ForcedTool);
        // A shape by other means is only promised by those that are known to have them.
        let schema = if self.facts.json_schema == Some(true) && !self.learnt.lacks(Lacks::Schema) {
            SchemaWay::Native
        } else if forced_tool && self.facts.forced_tool_choice == Some(true) {
            SchemaWay::Tool
        } else {
            SchemaWay::Prompt
        };
        Abilities {
            system: has(self.facts.system_prompt, Lacks::System),
            tools,
            streaming_tools: has(self.facts.streaming_tools, Lacks::StreamingTools),
            forced_tool,
            sampling: has(self.facts.sampling, Lacks::Sampling),
            schema,
        }
    }

    /// Asks, and asks again without what the model turns out to lack.
    async fn ask(&self, request: &ChatRequest) -> Result<ChatStream, ProviderError> {
        let mut prepared = self.prepare(request)?;
        loop {
            let error = match self.send(prepared.clone()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            if let Some(what) = Lacks::read(&error)
                && self.learnt.learn(what)
            {
                tracing::info!(model = self.model, lacks = ?what, "a model refused a part of a request");
                let without = self.prepare(request)?;
                if without != prepared {
                    prepared = without;
                    continue;
                }
            }
            return Err(self.advise(error));
        }
    }

    fn prepare(&self, request: &ChatRequest) -> Result<Prepared, ProviderError> {
        prepare(&self.model, request, &self.facts, self.abilities())
    }

    async fn send(&self, prepared: Prepared) -> Result<ChatStream, ProviderError> {
        let Prepared { turns, system, inference, tools, output, answer_tool, streams } = prepared;
        let Runtime { identity, streaming, whole: in_one_piece, .. } = &*self.runtime;
        if streams {
            let call = streaming
                .converse_stream()
                .model_id(&self.model)
                .set_messages(Some(turns))
                .set_system(system)
                .inference_config(inference)
                .set_tool_config(tools)
                .set_output_config(output);
            let answer = identity.call(|| call.clone().send()).await?;
            return Ok(streamed(answer, answer_tool, identity.scrubber()));
        }
        let call = in_one_piece
            .converse()
            .model_id(&self.model)
            .set_messages(Some(turns))
            .set_system(system)
            .inference_config(inference)
            .set_tool_config(tools)
            .set_output_config(output);
        whole(identity.call(|| call.clone().send()).await?, answer_tool)
    }

    fn advise(&self, error: ProviderError) -> ProviderError {
        advise(error, &self.model, self.runtime.endpoint.region(), self.replacement.as_deref())
    }

    /// Counts the tokens of a word, which costs nothing: whatever the answer, it shows whether the
    /// credentials are accepted. Many models cannot be counted for; that says nothing about them.
    async fn look(&self) -> Result<Inspection, ProviderError> {
        let report = self.runtime.identity.report().await?;
        let mut inspection = Inspection {
            identity: Some(report.to_string()),
            tools: self.facts.tools,
            ..Inspection::default()
        };
        let turn = Turn::builder()
            .role(ConversationRole::User)
            .content(ContentBlock::Text("ping".to_owned()))
            .build()
            .map_err(|_| super::history::incomplete())?;
        let input = CountTokensInput::Converse(ConverseTokensRequest::builder().messages(turn).build());
        let call = self.runtime.streaming.count_tokens().model_id(&self.model).input(input);
        let error = match self.runtime.identity.call(|| call.clone().send()).await {
            Ok(_) => {
                inspection.credentials_checked = true;
                inspection.model_listed = Some(true);
                return Ok(inspection);
            }
            Err(error) => error,
        };
        match error.kind() {
            Kind::NotFound => {
                inspection.credentials_checked = true;
                inspection.model_listed = Some(false);
                inspection.warnings.push(self.advise(error).detail().to_owned());
            }
            Kind::BadRequest | Kind::Forbidden | Kind::PromptTooLong => inspection.credentials_checked = true,
            // Nothing was looked at: too busy, or a stand-in of the service without the operation.
            Kind::Throttled | Kind::Quota | Kind::Protocol => {}
            _ => return Err(error),
        }
        Ok(inspection)
    }
}

impl ChatModel for BedrockModel {
    fn provider(&self) -> &str {
        "bedrock"
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn destination(&self) -> &Destination {
        &self.runtime.destination
    }

    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, ProviderError>> {
        Box::pin(async move { self.ask(&addressed(request, self.destination())?).await })
    }

    fn reach(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let steps = self.runtime.outbound.reach(self.runtime.endpoint.url()).await;
            steps.into_iter().map(reach_check).collect()
        })
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ProviderError>> {
        Box::pin(self.look())
    }
}
