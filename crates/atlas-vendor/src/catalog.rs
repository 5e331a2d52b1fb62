//! Facts about models, as data.
//!
//! Models appear and are retired within months, so nothing about one is compiled into a rule: the
//! file in `models/` ships with the binary, the operator's own file replaces and adds entries, and
//! a model that neither knows is used all the same.

use std::fmt;

use atlas_domain::ModelFacts;
use serde::Deserialize;

const SHIPPED: &str = include_str!("../../../models/catalog.json");

/// Whose naming an id follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelFamily {
    /// OpenAI, and Azure OpenAI by the underlying model's name.
    Openai,
    /// Anthropic's own API.
    Anthropic,
    /// AWS Bedrock, with or without a geographic prefix.
    Bedrock,
    /// Ollama tags; `aliases` hold the names that vLLM, TGI and TEI use.
    Local,
    /// Hosted APIs of OpenAI's shape.
    Compatible,
}

/// Whether OpenAI's chat completions accept tools for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolsOnChat {
    /// Without restriction.
    Yes,
    /// Unless a reasoning effort is sent too.
    EffortAbsentOrNone,
    /// Only with the reasoning effort `none`.
    EffortNoneOnly,
    /// Never.
    No,
    /// Nobody has said.
    Unknown,
}

/// Dimensions that a model's vectors can have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Dimensions {
    /// One of these.
    List(Vec<usize>),
    /// Any within these bounds.
    Range {
        /// The smallest.
        from: usize,
        /// The largest.
        to: usize,
    },
}

impl Dimensions {
    /// Whether a vector can have this many components.
    pub fn contains(&self, dimension: usize) -> bool {
        match self {
            Self::List(dimensions) => dimensions.contains(&dimension),
            Self::Range { from, to } => (*from..=*to).contains(&dimension),
        }
    }
}

impl fmt::Display for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(dimensions) => {
                let dimensions: Vec<String> = dimensions.iter().map(usize::to_string).collect();
                f.write_str(&dimensions.join(" or "))
            }
            Self::Range { from, to } => write!(f, "{from} to {to}"),
        }
    }
}

/// What is known about an embedding model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EmbeddingFacts {
    /// Components of its vectors when nothing is asked for.
    pub dimension: Option<usize>,
    /// What can be asked for, where that is known.
    pub dimensions_allowed: Option<Dimensions>,
    /// Inputs per request.
    pub max_batch: Option<usize>,
    /// Tokens per input.
    pub max_input_tokens: Option<usize>,
    /// Characters per input.
    pub max_input_chars: Option<usize>,
    /// Tokens per request.
    pub max_batch_tokens: Option<usize>,
    /// What stands before a text that will be found, for models that were trained with it.
    pub passage_prefix: Option<String>,
    /// What stands before a text that searches.
    pub query_prefix: Option<String>,
    /// Whether this model is used where the settings name none.
    pub default_embedding: bool,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelEntry {
    /// Its id, without a date and without a geographic prefix where those vary.
    pub id: String,
    /// Whose naming the id follows.
    pub family: ModelFamily,
    /// Other names of the same model.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What chat needs to know.
    #[serde(flatten)]
    pub chat: ModelFacts,
    /// What embedding needs to know.
    #[serde(flatten)]
    pub embedding: EmbeddingFacts,
    /// Whether OpenAI's chat completions accept tools for it.
    #[serde(default)]
    pub tools_on_chat_completions: Option<ToolsOnChat>,
    /// What to use instead of a retired one.
    #[serde(default)]
    pub replacement: Option<String>,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: Vec<ModelEntry>,
}

/// A file of facts that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model catalog cannot be read: {reason}")]
pub struct CatalogError {
    reason: String,
}

#[derive(Deserialize)]
struct File {
    models: Vec<ModelEntry>,
}

impl Catalog {
    /// The facts that ship with the binary.
    pub fn shipped() -> Self {
        Self { entries: read(SHIPPED).expect("the shipped file is read by a test") }
    }

    /// With the entries of an operator's file, which win over the shipped ones.
    pub fn overridden_by(mut self, json: &str) -> Result<Self, CatalogError> {
        let mut entries = read(json)?;
        entries.append(&mut self.entries);
        Ok(Self { entries })
    }

    /// The entry of a model: by its id or alias, else without what varies about a name. Earlier
    /// entries win.
    pub fn find(&self, family: ModelFamily, id: &str) -> Option<&ModelEntry> {
        let id = id.trim();
        let of_family = || self.entries.iter().filter(move |entry| entry.family == family);
        of_family().find(|entry| entry.is_named(id)).or_else(|| {
            let plain = plain(family, id);
            of_family().find(|entry| self::plain(family, &entry.id) == plain || entry.is_named(plain))
        })
    }

    /// The chat facts of a model; everything unknown where there is no entry.
    pub fn facts(&self, family: ModelFamily, id: &str) -> ModelFacts {
        self.find(family, id).map(|entry| entry.chat.clone()).unwrap_or_default()
    }

    /// The embedding model of a family for settings that name none: data, so that a retired one is
    /// replaced without a new binary.
    pub fn default_embedding(&self, family: ModelFamily) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.family == family && entry.embedding.default_embedding)
    }
}

impl ModelEntry {
    fn is_named(&self, id: &str) -> bool {
        self.id.eq_ignore_ascii_case(id) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(id))
    }
}

fn read(json: &str) -> Result<Vec<ModelEntry>, CatalogError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let file: Result<File, _> = serde_path_to_error::deserialize(&mut deserializer);
    file.map(|file| file.models).map_err(|error| CatalogError { reason: error.to_string() })
}

/// The name without what varies about it: a snapshot's date (`-2024-08-06`, `-20250929`), and on
/// Bedrock the geography that an inference profile begins with, also inside of an ARN.
fn plain(family: ModelFamily, id: &str) -> &str {
    if family == ModelFamily::Bedrock {
        let id = id.rsplit('/').next().unwrap_or(id);
        return match id.split_once('.') {
            Some((geography, rest)) if GEOGRAPHIES.contains(&geography) => rest,
            _ => id,
        };
    }
    let is_date = |tail: &str, length: usize| {
        tail.len() == length && tail.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    // The short form first: with a version before it (`-5-20250929`) it has the long one's length.
    for length in ["-20250929".len(), "-2024-08-06".len()] {
        if let Some(at) = id.len().checked_sub(length).filter(|at| id.is_char_boundary(*at)) {
            let (name, tail) = id.split_at(at);
            if !name.is_empty() && tail.starts_with('-') && is_date(&tail[1..], length - 1) {
                return name;
            }
        }
    }
    id.strip_suffix("-latest").or_else(|| id.strip_suffix(":latest")).unwrap_or(id)
}

const GEOGRAPHIES: [&str; 8] = ["us", "eu", "apac", "jp", "au", "in", "us-gov", "global"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(family: ModelFamily, id: &str, expect: Option<&str>) {
        let catalog = Catalog::shipped();
        assert_eq!(catalog.find(family, id).map(|entry| entry.id.as_str()), expect, "{id}");
    }

    #[test]
    fn models_are_found_by_every_spelling_of_their_name() {
        check(ModelFamily::Openai, "gpt-4o-mini", Some("gpt-4o-mini"));
        check(ModelFamily::Openai, "gpt-4o-mini-2024-07-18", Some("gpt-4o-mini"));
        check(ModelFamily::Anthropic, "claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5"));
        check(
            ModelFamily::Bedrock,
            "jp.anthropic.claude-haiku-4-5-20251001-v1:0",
            Some("us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        );
        check(
            ModelFamily::Bedrock,
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
            Some("us.amazon.nova-lite-v1:0"),
        );
        check(ModelFamily::Local, "Qwen/Qwen3-8B", Some("qwen3:8b"));
        check(ModelFamily::Local, "nomic-embed-text:latest", Some("nomic-embed-text"));
        check(ModelFamily::Openai, "a-model-of-next-year", None);
        check(ModelFamily::Openai, "", None);
    }

    #[test]
    fn the_operators_file_wins_and_adds() {
        let file = r#"{"models": [
            {"id": "gpt-4o-mini", "family": "openai", "context_tokens": 1000},
            {"id": "ours", "family": "local", "tools": false}
        ]}"#;
        let catalog = Catalog::shipped().overridden_by(file).expect("a good file");
        assert_eq!(catalog.facts(ModelFamily::Openai, "gpt-4o-mini").context_tokens, Some(1000));
        assert_eq!(catalog.facts(ModelFamily::Local, "ours").tools, Some(false));
    }

    #[test]
    fn the_default_embedding_model_is_data() {
        let of = |catalog: &Catalog| {
            catalog
                .default_embedding(ModelFamily::Openai)
                .map(|entry| (entry.id.clone(), entry.embedding.dimension))
        };
        assert_eq!(of(&Catalog::shipped()), Some(("text-embedding-3-small".into(), Some(1536))));
        let file = r#"{"models": [{"id": "e", "family": "openai", "default_embedding": true}]}"#;
        let catalog = Catalog::shipped().overridden_by(file).expect("a good file");
        assert_eq!(of(&catalog), Some(("e".into(), None)));
    }

    #[track_caller]
    fn check_dimensions(family: ModelFamily, id: &str, has: [usize; 2], has_not: [usize; 2], words: &str) {
        let catalog = Catalog::shipped();
        let entry = catalog.find(family, id).expect("shipped");
        let allowed = entry.embedding.dimensions_allowed.as_ref().expect("known");
        assert!(has.iter().all(|dimension| allowed.contains(*dimension)), "{id}");
        assert!(!has_not.iter().any(|dimension| allowed.contains(*dimension)), "{id}");
        assert_eq!(allowed.to_string(), words);
    }

    #[test]
    fn dimensions_are_a_list_or_a_range() {
        check_dimensions(
            ModelFamily::Bedrock,
            "amazon.titan-embed-text-v2:0",
            [256, 1024],
            [128, 384],
            "256 or 512 or 1024",
        );
        check_dimensions(ModelFamily::Openai, "text-embedding-3-small", [1, 1536], [0, 1537], "1 to 1536");
        for entry in &Catalog::shipped().entries {
            let EmbeddingFacts { dimension, dimensions_allowed, .. } = &entry.embedding;
            let (Some(own), Some(allowed)) = (dimension, dimensions_allowed) else { continue };
            assert!(allowed.contains(*own), "{} has its own dimension", entry.id);
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_the_place() {
        let file = r#"{"models": [{"id": "x", "family": "nobody"}]}"#;
        let error = Catalog::shipped().overridden_by(file).expect_err("no such family").to_string();
        assert!(error.contains("models[0]"), "{error}");
    }
}
